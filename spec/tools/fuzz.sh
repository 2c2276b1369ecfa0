#!/bin/sh
# fuzz.sh FUZZER.c... - runs each fuzzer that `make fuzz` has built for $FUZZ_SECONDS on a copy of its corpus.
# A finding is left in build/fuzz/found/ and fails the run.
set -u

failed=0
passed=0
mkdir -p "$BUILD/fuzz/found"
for source in "$@"; do
  name=$(basename "$source" .c)
  corpus=$BUILD/fuzz/corpus/$name
  mkdir -p "$corpus"
  for seeds in "spec/fuzz/corpus/$name" "spec/fuzz/corpus/${name%_fuzz}"; do
    [ ! -d "$seeds" ] || cp -R "$seeds/." "$corpus"
  done
  ${LUA:-lua5.4} spec/fuzz/seeds.lua "$name" "$corpus" || exit 1
  echo "fuzz: $name for $FUZZ_SECONDS s"
  if "$BUILD/fuzz/bin/$name" -max_total_time="$FUZZ_SECONDS" -print_final_stats=1 -verbosity=0 -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix="$BUILD/fuzz/found/$name-" "$corpus"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
done
echo "fuzz: $passed fuzzers found nothing, $failed found something"
[ "$failed" -eq 0 ]
