#!/bin/sh
# sanitized-lua.sh LUA LIBRARY... - prints a program that runs LUA with these libraries preloaded. It is put on the
# PATH under the name of LUA, so that specs that start another process get it too. What a spec preloads comes behind.
set -eu
lua=$(command -v "$1")
shift
cat <<END
#!/bin/sh
LD_PRELOAD='$*'"\${LD_PRELOAD:+ \$LD_PRELOAD}" exec '$lua' "\$@"
END
