#!/usr/bin/env bash
# The commit that is checked out, built again in another folder with an empty target: every file of
# dist/SHA256SUMS has to come out the same.
#
# usage: tests/dist/reproducible.sh
#
# MUSL_DIR names the musl toolchain to build with, as for make dist: another copy of it shows that
# its place does not matter either. Debian packages are compared where make deb has made some.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
fail() { printf 'reproducible: %s\n' "$1" >&2; exit 1; }

[[ -f dist/SHA256SUMS ]] || fail 'there is no dist/SHA256SUMS; run make dist first'
[[ -z $(git status --porcelain) ]] || fail 'there are changes that no commit holds'
MUSL_DIR=$(realpath -m "${MUSL_DIR:-.tools/musl}")
SOURCE_DATE_EPOCH=$(.dist/epoch)
export MUSL_DIR SOURCE_DATE_EPOCH
unset CARGO_TARGET_DIR
folder=$(mktemp -d "${TMPDIR:-/tmp}/tasseograph-again.XXXXXX")
trap 'rm -rf "$folder"' EXIT
git archive HEAD | tar --extract --directory "$folder"
# What only helps to build is not made again.
mkdir -p .tools
ln -s "$PWD/.tools" "$folder/.tools"
what=dist
! grep -q '\.deb$' dist/SHA256SUMS || what=deb
make --no-print-directory -C "$folder" "$what"
diff dist/SHA256SUMS "$folder/dist/SHA256SUMS" || fail 'not the same bytes (< here, > there)'
printf 'the same bytes: %s files\n1 passed, 0 failed\n' "$(wc -l <dist/SHA256SUMS)"
