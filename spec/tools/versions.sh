#!/bin/sh
# versions.sh PKG_CONFIG MODULE:VERSION:PACKAGE... - checks that each library is there and new enough.
set -u

pkg_config=$1
shift
command -v "$pkg_config" >/dev/null || {
  echo "pipeline needs $pkg_config; on Debian: make deps-build installs all that is missing" >&2
  exit 1
}
for entry in "$@"; do
  module=${entry%%:*}
  rest=${entry#*:}
  version=${rest%%:*}
  package=${rest#*:}
  "$pkg_config" --atleast-version="$version" "$module" || {
    found=$("$pkg_config" --modversion "$module" 2>/dev/null || echo none)
    echo "pipeline needs $module >= $version (found: $found); on Debian: make deps-build, or" \
      "apt-get install $package" >&2
    exit 1
  }
done
