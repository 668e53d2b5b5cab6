#!/bin/sh
# Make the environment of requirements.lock, for the images: install.sh FOLDER cuda|cpu
# `make` finds it by VENV=FOLDER and installs nothing more while the lock stays the same.
set -eu
venv=$1
device=$2
lock=requirements.lock
version() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$lock"; }

python3 -m venv "$venv"
install() { "$venv/bin/python" -m pip install --no-cache-dir --quiet "$@"; }
case $device in
cuda) install --require-hashes -r "$lock" ;;
cpu)
	# PyPI has PyTorch with CUDA alone. The one without comes from PyTorch's own index, in the
	# versions of the lock but with other hashes; all else is checked.
	awk '/^[a-zA-Z]/ { keep = !/^(torch|torchvision|triton|nvidia-[a-z0-9-]+)==/ } keep' \
		"$lock" >"$venv/rest.lock"
	install --require-hashes --no-deps -r "$venv/rest.lock"
	install --no-deps --index-url https://download.pytorch.org/whl/cpu \
		"torch==$(version torch)" "torchvision==$(version torchvision)"
	;;
*)
	echo "error: DEVICE is '$device'; allowed: cuda, cpu" >&2
	exit 2
	;;
esac
touch "$venv/.ready-$(cksum "$lock" | cut -d ' ' -f 1)"
