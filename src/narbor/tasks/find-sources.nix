# Every derivation with a known hash that `expr` is built from: files, and trees too. What cannot be
# evaluated is left out. Written with builtins alone, so that it works for every nixpkgs.
{ expr }:
let
  inherit (builtins) attrValues concatMap filter genericClosure isAttrs isList tryEval;

  sound = value: (tryEval value).success;
  isDerivation = value: isAttrs value && (tryEval (value.type or null)).value == "derivation";
  whole = drv: if sound drv.drvPath then [ drv ] else [ ];

  # The derivations in a value: in lists, and in sets only where `deep` says so. Whatever is given
  # to a derivation goes into its environment, where a set that is none would be an error anyway.
  within = deep: value:
    if !sound value then [ ]
    else if isDerivation value then whole value
    else if isList value then concatMap (within deep) value
    else if deep && isAttrs value then concatMap (within deep) (attrValues value)
    else [ ];

  node = drv: { key = drv.drvPath; inherit drv; };
  every = map (each: each.drv) (genericClosure {
    startSet = map node (within true expr);
    operator = each: map node (concatMap (within false) (attrValues (each.drv.drvAttrs or { })));
  });

  said = drv: drv.drvAttrs or drv;
  fixed = filter (drv:
    let attributes = said drv; in
    (attributes.outputHash or "") != "" && (attributes ? urls || attributes ? url)) every;

  system = attributes:
    if attributes ? fetchSubmodules then "git"
    else if attributes ? ignoreExternals then "svn"
    else if attributes ? subrepoClause then "hg"
    else null;
in
map (drv:
  let attributes = said drv; in {
    inherit (drv) name;
    urls = attributes.urls or [ attributes.url ];
    hash = attributes.outputHash;
    type = attributes.outputHashAlgo or null;
    outputHashMode = attributes.outputHashMode or "flat";
    rev = attributes.rev or null;
    vcs = system attributes;
    fetchSubmodules = attributes.fetchSubmodules or false;
    fetchSubrepos = (attributes.subrepoClause or "") != "";
    leaveDotGit = attributes.leaveDotGit or false;
    deepClone = attributes.deepClone or false;
    sparseCheckout = (attributes.sparseCheckout or "") != "" && (attributes.sparseCheckout != [ ]);
    fetchLFS = attributes.fetchLFS or false;
    rootDir = (attributes.rootDir or "") != "";
    ignoreExternals = attributes.ignoreExternals or false;
    ignoreKeywords = attributes.ignoreKeywords or false;
    postFetch = (attributes.postFetch or "") != "";
  }) fixed
