# Builder of one store item out of one Debian package.
# In: $src, the .deb; $deps, the items it depends on; $out.
set -eu
export PATH=/usr/bin:/bin
umask 022

mkdir "$out"
dpkg-deb --fsys-tarfile "$src" |
  tar --extract --directory "$out" --no-same-owner --no-same-permissions --exclude ./dev
if [ -d "$out/usr" ] && [ ! -L "$out/usr" ]; then
  cp --archive --remove-destination "$out/usr/." "$out/"
  rm -r "$out/usr"
fi
# Nix refuses set-uid and set-gid bits in outputs.
find "$out" ! -type l -perm /6000 -exec chmod ug-s {} +
mkdir -p "$out/nix-support"
echo "$deps" > "$out/nix-support/propagated-build-inputs"

# Programs and libraries find their libraries in the store: their own and those of what they need.
loader=
run_path=
for item in $out $deps; do
  for folder in "$item"/lib/*-linux-gnu; do
    if [ -d "$folder" ]; then
      run_path=${run_path:+$run_path:}$folder
    fi
    for found in "$folder"/ld-linux-*.so.*; do
      if [ -e "$found" ] && [ "$item" != "$out" ]; then
        loader=$found
      fi
    done
  done
done
# What lies below the loader stays as Debian built it.
[ -n "$loader" ] || exit 0
find "$out" -type f '(' -perm /111 -o -name '*.so*' ')' | while read -r file; do
  if [ "$(head -c 4 "$file" | tail -c 3)" = ELF ]; then
    if patchelf --print-interpreter "$file" > /dev/null 2>&1; then
      patchelf --set-interpreter "$loader" "$file"
    fi
    if [ -n "$(patchelf --print-needed "$file" 2> /dev/null)" ]; then
      patchelf --set-rpath "$run_path" "$file"
    fi
  fi
done
