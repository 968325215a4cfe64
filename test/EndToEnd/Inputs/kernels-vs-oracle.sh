# Runs MODEL on the inputs of SET through the oracle, keeps its outputs as the
# expected ones in WORKDIR, and compares the kernels with them.
#   kernels-vs-oracle.sh MIURA MODEL SET WORKDIR
set -e
rm -rf "$4" && mkdir "$4"
cp "$3"/input_*.pb "$4"
"$1" run "$2" --reference --inputs "$4" --save "$4" --quiet > /dev/null
"$1" run "$2" --inputs "$4" --check --rtol 1e-5 --quiet
