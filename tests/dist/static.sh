#!/usr/bin/env bash
# The static programs as a strange host meets them: nothing to load, nothing in the root but the
# program, and arm64's under qemu: analyze, the collector and two agents.
#
# usage: tests/dist/static.sh AMD64 ARM64
#
# Needs file and ldd; root for the empty root, qemu-user-static for arm64. What cannot be tried here
# is said.
set -euo pipefail
amd64=$(realpath "${1:?usage: tests/dist/static.sh AMD64 ARM64}")
arm64=$(realpath "${2:?usage: tests/dist/static.sh AMD64 ARM64}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
sample=tests/demo/degraded.kmsg
# A line of the sample's findings.
finding='critical'

passed=0 skipped=0 folder=''
trap '[[ -z $folder ]] || rm -rf "$folder"' EXIT
folder=$(mktemp -d "${TMPDIR:-/tmp}/tasseograph-static.XXXXXX")

pass() { printf 'ok: %s\n' "$1"; passed=$((passed + 1)); }
skip() { printf 'skipped: %s\n' "$1"; skipped=$((skipped + 1)); }
fail() { printf 'static: %s\n' "$1" >&2; exit 1; }
# holds WHAT TEXT PART
holds() { [[ $2 == *"$3"* ]] || fail "$1 does not say \"$3\": $2"; }

for program in "$amd64" "$arm64"; do
  name=$(basename "$program")
  kind=$(file --brief "$program")
  holds "file $name" "$kind" 'static-pie linked'
  holds "file $name" "$kind" 'stripped'
  [[ $kind != *interpreter* ]] || fail "$name names an interpreter: $kind"
  pass "file: $name: $kind"
done
loaded=$(ldd "$amd64" 2>&1) || true
holds "ldd $(basename "$amd64")" "$loaded" 'statically linked'
pass "ldd: $(basename "$amd64"): statically linked"

if ((EUID == 0)); then
  install -D -m 0755 "$amd64" "$folder/root/tasseograph"
  [[ $(find "$folder/root" -mindepth 1 | wc -l) == 1 ]] || fail 'the root is not empty'
  said=$(chroot "$folder/root" /tasseograph --version)
  holds 'chroot: --version' "$said" 'tasseograph '
  said=$(chroot "$folder/root" /tasseograph analyze - <"$sample")
  holds 'chroot: analyze' "$said" "$finding"
  pass "alone in a root: $(basename "$amd64") analyses $sample"
else
  skip 'alone in a root: only root may change it'
fi

if command -v qemu-aarch64-static >/dev/null; then
  printf '#!/bin/sh\nexec qemu-aarch64-static %q "$@"\n' "$arm64" >"$folder/emulated"
  chmod 0755 "$folder/emulated"
  said=$("$folder/emulated" analyze "$sample")
  holds 'arm64: analyze' "$said" "$finding"
  [[ $said == "$("$amd64" analyze "$sample")" ]] || fail 'arm64 finds something else than amd64'
  pass "arm64 under qemu: analyze finds the same as amd64"
  said=$(TMPDIR=$folder tests/demo/demo.sh "$folder/emulated" 2>&1) || fail "arm64: demo: $said"
  holds 'arm64: demo' "$said" 'Everything is stopped'
  pass "arm64 under qemu: a collector and two agents, from records to findings"
else
  skip 'arm64: no qemu-aarch64-static here (package qemu-user-static)'
fi
printf '%s passed, 0 failed, %s skipped\n' "$passed" "$skipped"
