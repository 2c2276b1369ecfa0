#!/bin/sh
# test.sh FILE... - runs specs (*_spec.lua, by busted) and C tests (*_test.c, already built), one process each, and
# sums them up. Called by `make test`, which sets the environment; the last line is "N passed, M failed".
#
# A process that dies, hangs past $SPEC_TIMEOUT seconds, or prints a Lua warning fails the file it ran.
set -u

# ---- one file: leaves "PASSED FAILED" in a .result file and prints one line (and the log if something failed) -------

count() { # PATTERN FILE
  grep -c "$1" "$2" 2>/dev/null || true
}

run_spec() { # FILE LOG
  report=$2.report
  : >"$report"
  cpath=$LUA_CPATH
  case $1 in *fault*) cpath=$PL_FAULTS_CPATH ;; esac
  # shellcheck disable=SC2086 # WRAP is a command with its arguments
  REPORT=$report LUA_CPATH=$cpath timeout -k 10 "$SPEC_TIMEOUT" \
    $WRAP "$LUA" -W "$BUSTED" --ignore-lua -o spec/tools/report.lua "$1" >"$2" 2>&1 </dev/null
  code=$?
  passed=$(count '^ok ' "$report")
  failed=$(count '^FAIL ' "$report")
  skipped=$(count '^skip ' "$report")
  if ! grep -q '^end$' "$report"; then
    echo "died with exit code $code during: $(tail -n 1 "$report")" >>"$2"
    failed=$((failed + 1))
  elif [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "exit code $code" >>"$2"
    failed=$((failed + 1))
  elif grep -q '^Lua warning: ' "$2"; then
    echo "a Lua warning was printed" >>"$2"
    failed=$((failed + 1))
  elif [ $((passed + failed + skipped)) -eq 0 ]; then
    echo "no test in this file" >>"$2"
    failed=1
  fi
}

run_c_test() { # FILE LOG
  program=${1#spec/}
  program=$C_TEST_DIR/$(echo "${program%.c}" | tr / .)
  # shellcheck disable=SC2086
  timeout -k 10 "$SPEC_TIMEOUT" $WRAP "$program" >"$2" 2>&1 </dev/null
  code=$?
  skipped=0
  # A program that counts its own checks says so in its last line; any other is one test.
  counts=$(tail -n 1 "$2" | sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p')
  passed=${counts% *}
  failed=${counts#* }
  [ -n "$counts" ] || { passed=1; failed=0; }
  if [ "$code" -ne 0 ]; then
    echo "exit code $code" >>"$2"
    [ -n "$counts" ] || passed=0
    [ "$failed" -gt 0 ] || failed=1
  fi
}

if [ "${1:-}" = --one ]; then
  log=$LOGS/$(echo "$2" | tr / .).log
  started=$(date +%s%N)
  case $2 in
    *_test.c | *_fuzz.c) run_c_test "$2" "$log" ;;
    *) run_spec "$2" "$log" ;;
  esac
  tenths=$((($(date +%s%N) - started) / 100000000))
  echo "$passed $failed $skipped" >"$log.result"
  line=$(printf '%-52s %4d passed' "$2" "$passed")
  [ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
  if [ "$failed" -gt 0 ]; then
    printf '%s, %d FAILED  (%d.%d s)\n%s\n' "$line" "$failed" $((tenths / 10)) $((tenths % 10)) \
      "$(tail -n 200 "$log" | sed 's/^/    /')"
  else
    printf '%s  (%d.%d s)\n' "$line" $((tenths / 10)) $((tenths % 10))
  fi
  exit 0
fi

# ---- all files -----------------------------------------------------------------------------------------------------

# A directory stands for everything in it.
for argument in "$@"; do
  shift
  if [ -d "$argument" ]; then
    # shellcheck disable=SC2046 # one argument per file
    set -- "$@" $(find "$argument" -name '*_spec.lua' -o -name '*_test.c' -o -name '*_fuzz.c' | LC_ALL=C sort)
  else
    set -- "$@" "$argument"
  fi
done

rm -rf "$LOGS"
mkdir -p "$LOGS"
[ $# -eq 0 ] || printf '%s\n' "$@" | xargs -P "$TEST_JOBS" -I '{}' sh "$0" --one '{}'

# Beside others on a busy machine a spec may fail that holds alone. AGAIN=yes: what has failed is run once more, by
# itself; if it passes then, it counts as passed and is named at the end, for it is a fault of the spec, or a rare one
# of the library. What both runs printed stays in the output.
unsteady=
if [ "${AGAIN:-no}" = yes ]; then
  for file in "$@"; do
    result=$LOGS/$(echo "$file" | tr / .).log.result
    read -r _ f _ 2>/dev/null <"$result" || continue
    [ "$f" -gt 0 ] || continue
    echo "again, alone: $file"
    sh "$0" --one "$file"
    read -r _ f _ <"$result"
    [ "$f" -gt 0 ] || unsteady="$unsteady $file"
  done
fi

passed=0
failed=0
skipped=0
for file in "$@"; do
  result=$LOGS/$(echo "$file" | tr / .).log.result
  if [ -f "$result" ]; then
    read -r p f s <"$result"
    skipped=$((skipped + ${s:-0}))
    passed=$((passed + p))
    failed=$((failed + f))
  else
    echo "$file: was not run"
    failed=$((failed + 1))
  fi
done

if [ "$COVERAGE" = yes ]; then
  "$LUA" spec/tools/coverage.lua || failed=$((failed + 1))
fi
for file in $unsteady; do echo "unsteady: $file failed beside others and passed alone"; done
[ "$skipped" -eq 0 ] || echo "$skipped skipped: their logs in $LOGS say why"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
