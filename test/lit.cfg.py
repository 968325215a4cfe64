# The configuration of Miura's tests. Features:
#   data     the test data folder is there (MIURA_TEST_DATA, by default
#            ../shared/data beside the checkout); tests that need it say
#            `REQUIRES: data` and are reported as unsupported elsewhere
#   aarch64  qemu-aarch64 and a C library for AArch64
#   python   the tests' Python environment (onnx, onnxruntime, tokenizers)
#   node, chromium   those programs, and the linker for WebAssembly
import os
import shutil

import lit.formats
from lit.llvm import llvm_config

config.name = "Miura"
config.test_format = lit.formats.ShTest(not llvm_config.use_lit_shell)
config.suffixes = [".mlir", ".test", ".md"]
config.excludes = ["Inputs", "CMakeLists.txt", "README.md"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.miura_obj_root, "test")

llvm_config.use_default_substitutions()
llvm_config.with_environment("PATH", config.llvm_tools_dir, append_path=True)
llvm_config.add_tool_substitutions(
    [tool for tool in ("miura-opt", "miura-bench-kernels", "miura-test-tokenizer",
                      "miura-translate", "mlir-opt")
     if tool == "mlir-opt" or os.path.exists(os.path.join(config.miura_tools_dir, tool))],
    [config.miura_tools_dir, config.llvm_tools_dir])
config.substitutions.append(
    ("%miura", os.path.join(config.miura_tools_dir, "miura")))
config.substitutions.append(("%unit", os.path.join(config.test_exec_root, "Unit")))
config.substitutions.append(("%src", config.miura_src_root))
config.substitutions.append(("%obj", config.miura_obj_root))
config.substitutions.append(("%llvm_tools", config.llvm_tools_dir))

data = os.environ.get("MIURA_TEST_DATA") or os.path.join(
    config.miura_src_root, "..", "shared", "data")
if os.path.isdir(os.path.join(data, "onnx")):
    config.available_features.add("data")
    config.substitutions.append(("%data", os.path.abspath(data)))
else:
    lit_config.note("no test data at %s: tests that need it are skipped "
                    "(set MIURA_TEST_DATA)" % data)

python = os.environ.get("MIURA_TEST_PYTHON") or os.path.join(
    os.environ.get("MIURA_CACHE") or os.path.expanduser("~/.cache/miura"),
    "python", "bin", "python")
if os.path.exists(python):
    config.available_features.add("python")
    # LLVM defines %python as the one that runs lit; the first entry wins.
    config.substitutions.insert(0, ("%python", python))
else:
    lit_config.note("no Python environment at %s: tests that need it are "
                    "skipped (utils/setup makes it)" % python)

if shutil.which("wasm-ld-22"):
    config.available_features.update(
        program for program in ("node", "chromium") if shutil.which(program))
if "node" not in config.available_features or "chromium" not in config.available_features:
    lit_config.note("no Node, Chromium or wasm-ld-22: tests of code for browsers "
                    "are skipped (utils/setup installs them)")

# Code for AArch64 runs under qemu-user, linked with Debian's cross C library.
qemu = shutil.which("qemu-aarch64")
if qemu and os.path.exists(os.path.join(config.miura_obj_root, "lib", "aarch64",
                                        "libMiuraRuntime.a")):
    config.available_features.add("aarch64")
    config.substitutions.append(
        ("%aarch64_cc", "clang-22 --target=aarch64-linux-gnu -fuse-ld=lld"))
    config.substitutions.append(("%aarch64_run", qemu + " -L /usr/aarch64-linux-gnu"))
else:
    lit_config.note("no qemu-aarch64 or no cross C library: tests of AArch64 are "
                    "skipped (utils/setup names the packages)")

# Models that commands compile in passing do not go to the user's folder.
config.environment["MIURA_COMPILED_DIR"] = os.path.join(config.test_exec_root, "compiled")

if config.miura_sanitizer:
    config.available_features.add("sanitizer")
    # LLVM's allocators poison what they hold in our code, which is built with
    # the sanitizer, but not in libMLIR, which is not: its reports of that are
    # false.
    config.environment["ASAN_OPTIONS"] = os.environ.get(
        "ASAN_OPTIONS", "allow_user_poisoning=0")
