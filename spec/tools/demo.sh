#!/bin/sh
# demo.sh - `make demo`: counts words on a fresh file and compares the total with what wc says of the same files.
# Arguments are passed on to the example (--crash).
set -eu

dir=/usr/share/common-licenses
if [ -z "$(find -H "$dir" -type f 2>/dev/null | head -n 1)" ]; then dir=lua; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The exit code of the example goes through a file: that of a pipe would be tee's.
{
  timeout 120 "$LUA" examples/wordcount.lua "$dir" --db "$work/words.db" --approve "$@" 2>&1 && echo ok >"$work/ended"
} | tee "$work/output"
[ -f "$work/ended" ] || { echo "demo: the example failed" >&2; exit 1; }

ours=$(sed -n 's/^total: \([0-9]*\) words in .*/\1/p' "$work/output" | tail -n 1)
theirs=$(find -H "$dir" -type f -print0 | LC_ALL=C wc -w --files0-from=- | tail -n 1 | awk '{ print $1 }')
if [ "$ours" = "$theirs" ]; then
  echo "demo: wc -w counts $theirs words too"
else
  echo "demo: pipeline counted $ours words, wc -w $theirs" >&2
  exit 1
fi
