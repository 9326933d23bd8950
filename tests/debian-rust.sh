#!/usr/bin/env bash
# Unpacks Debian's own rustc and cargo (1.63 in bookworm) into a directory, to be used as a `path:`
# toolchain: a compiler of another age than those of rustup. Nothing is installed.
#
#   tests/debian-rust.sh DIR     prints the toolchain's directory, DIR/usr
set -euo pipefail

[ $# = 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
say() { echo "tests/debian-rust.sh: $*" >&2; }

# What they link to and a machine without them lacks.
packages=(rustc cargo libstd-rust-dev libllvm14 libgit2-1.5 libssh2-1 libmbedtls14 libmbedx509-1
  libmbedcrypto7 libhttp-parser2.9 libcurl3-gnutls libbrotli1 libnghttp2-14 librtmp1 libpsl5
  libedit2 libbsd0 libmd0 libxml2 libz3-4 libicu72)

works() {
  local libs="$1/lib/x86_64-linux-gnu:$1/lib"
  LD_LIBRARY_PATH=$libs "$1/bin/rustc" -V >&2 && LD_LIBRARY_PATH=$libs "$1/bin/cargo" -V >&2
}

mkdir -p "$1"
dir=$(cd "$1" && pwd)
if works "$dir/usr" 2>/dev/null; then
  echo "$dir/usr"
  exit 0
fi
command -v apt-get >/dev/null || { say "there is no apt-get to download Debian's rustc with"; exit 1; }
[ -n "$(apt-cache policy rustc | grep Candidate)" ] || { [ "$(id -u)" = 0 ] && apt-get update -qq; }
std=$(apt-cache depends rustc | sed -n 's/.*Depends: \(libstd-rust-[0-9].*\)/\1/p' | head -1)
[ -n "$std" ] || std=$(apt-cache depends libstd-rust-dev | sed -n 's/.*Depends: \(libstd-rust-[0-9].*\)/\1/p' | head -1)
say "downloading Debian's rustc, cargo and $std"
mkdir -p "$dir/deb"
(cd "$dir/deb" && apt-get download -qq "${packages[@]}" "$std" >&2)
for deb in "$dir"/deb/*.deb; do dpkg-deb -x "$deb" "$dir"; done
rm -r "$dir/deb"
works "$dir/usr" || { say "the unpacked toolchain does not run"; exit 1; }
echo "$dir/usr"
