# Counts what models raise to: count.sh TRANSLATE OPT FOLDER MODEL...
translate=$1 opt=$2 folder=$3
shift 3
for model in "$@"; do
  raised=$($translate --import-onnx "$folder/$model/model.onnx" |
           $opt --miura-onnx-normalize --miura-raise --canonicalize --cse 2>/dev/null) ||
    { echo "$model: failed"; continue; }
  count() { printf '%s\n' "$raised" | grep -cE "$1"; }
  session=no
  printf '%s\n' "$raised" | $opt --miura-form-session >/dev/null 2>&1 && session=yes
  echo "$model: attention $(count '= miura.attention '), masks $(count '= miura.attention .* mask ')," \
    "linear $(count '= miura.(expert_)?linear '), embedding $(count '= miura.embedding ')," \
    "rms_norm $(count '= miura.rms_norm '), layer_norm $(count '= miura.layer_norm ')," \
    "rope $(count '= miura.rope '), silu $(count '= miura.silu '), gelu $(count '= miura.gelu ')," \
    "nodes $(count '= miura.onnx_node '), session $session"
done
