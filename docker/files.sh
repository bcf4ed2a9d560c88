#!/usr/bin/env bash
# Builds what the images are made of into build/image: the programs, and the names of the packages that
# they need to run, found from what they link.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PROGRAMS=(koshel koshel-coordinator koshel-shard-agent)
readonly OUT=build/image

./dev build "${PROGRAMS[@]}"
rm -rf "$OUT"
mkdir -p "$OUT/bin"
for program in "${PROGRAMS[@]}"; do
  strip -o "$OUT/bin/$program" "build/bin/$program"
done

libraries() { ldd "$OUT"/bin/* | sed -n 's/.* => \(\/[^ ]*\).*/\1/p' | xargs readlink -f | sort -u; }
# dpkg knows some libraries as /lib/... and others as /usr/lib/..., whichever way the linker found them.
owners() { sed 's,^/usr/lib/,/lib/,; p; s,^,/usr,' | xargs dpkg -S 2>/dev/null || true; }
libraries | owners | sed 's/:.*//' | sort -u >"$OUT/packages"
grep -q '^libpqxx' "$OUT/packages" || { echo "files.sh: found no packages of libraries" >&2; exit 1; }
