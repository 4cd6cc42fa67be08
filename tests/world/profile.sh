# Builder of the item that stands for the whole world: one bin folder with links to all programs.
# In: $deps, the items; $out.
set -eu
export PATH=/usr/bin:/bin
mkdir -p "$out/bin" "$out/nix-support"
for item in $deps; do
  if [ -d "$item/bin" ]; then
    find "$item/bin" -mindepth 1 -maxdepth 1 -exec ln -sf -t "$out/bin" {} +
  fi
done
echo "$deps" > "$out/nix-support/propagated-user-env-packages"
