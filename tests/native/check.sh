#!/bin/sh
# Build tests/native/engine_checks.cpp with the engine and run it.
#   check.sh FOLDER emulated    the baseline engine, and that for AMX on ordinary memory (x86-64 with AVX-512)
#   check.sh FOLDER sanitized   the same, and all others for x86-64, with the address and undefined behaviour sanitizers
#   check.sh FOLDER arm64       the baseline engine by aarch64-linux-gnu-g++, under qemu-aarch64
set -e
folder=$1 kind=$2
here=$(cd "$(dirname "$0")" && pwd)
csrc=$here/../../src/focalnets/ops/csrc
avx2="-mavx2 -mfma"
avx512="$avx2 -mavx512f -mavx512bw -mavx512dq -mavx512vl"
flags="-std=c++17 -O1 -DFOCAL_SANITIZED -Wno-psabi -fno-math-errno -fno-trapping-math -ffp-contract=fast -I$csrc"
compiler=${CXX:-g++} runner="" all=""
case $kind in
  emulated) all="-DFOCAL_AMX -DFOCAL_AMX_EMULATED" ;;
  sanitized)
    flags="$flags -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    all="-DFOCAL_X86 -DFOCAL_AMX -DFOCAL_AMX_EMULATED" ;;
  arm64) compiler=aarch64-linux-gnu-g++ runner=qemu-aarch64 flags="$flags -static" ;;
  *) echo "unknown kind '$kind': emulated, sanitized or arm64" >&2; exit 2 ;;
esac

mkdir -p "$folder"
cd "$folder"
objects=""
compile() {  # object, source, flags
  object=$1.o source=$2
  shift 2
  "$compiler" $flags "$@" -c "$source" -o "$object"
  objects="$objects $object"
}
kernels() {  # name, source, flags
  name=$1 source=$2
  shift 2
  compile "$name" "$csrc/$source" "-DFOCAL_NAMESPACE=focal_$name" "-DFOCAL_NAME=\"$name\"" "$@"
}
for part in dispatch engine_dispatch engine_stage; do compile $part "$csrc/$part.cpp" $all; done
compile checks "$here/engine_checks.cpp"
kernels baseline kernels.cpp
kernels engine_baseline engine_kernels.cpp
if [ "$kind" = sanitized ]; then
  kernels avx2 kernels.cpp $avx2
  kernels avx512 kernels.cpp $avx512
  kernels engine_avx2 engine_kernels.cpp $avx2
  kernels engine_avx512 engine_kernels.cpp $avx512
  kernels engine_bfloat16 engine_kernels.cpp $avx512 -mavx512bf16 -DFOCAL_ENGINE_BFLOAT16
  kernels engine_int8 engine_kernels.cpp $avx512 -mavx512vnni -DFOCAL_ENGINE_INT8
fi
if [ "$kind" != arm64 ]; then kernels engine_amx engine_kernels.cpp $avx512 -DFOCAL_ENGINE_AMX -DFOCAL_AMX_EMULATED; fi
"$compiler" $flags $objects -o engine_checks -lpthread
$runner ./engine_checks
