// Reads jobs as JSON from standard input, imports each with Helia's importer, and writes as JSON
// the CIDs of all its paths and the dag-pb nodes it made.
//
//   [{options: {...}, chunk?: bytes, width?: links, entries: [entry...]}...]
//   entry = {path, text, size, mode?} (`text` over and over, `size` bytes), {path, link}, or {path}
//   -> [{cids: {path: CID}, nodes: {CID: base64}}...]; the path of the root is ""

import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { text } from 'node:stream/consumers'

const DAG_PB = 0x70

function candidate ({ path, text, size, mode, link }) {
  if (link !== undefined) {
    return { path, link }
  }
  if (text !== undefined) {
    return { path, content: size === 0 ? Buffer.alloc(0) : Buffer.alloc(size, text), mode }
  }
  return { path }
}

async function run (job) {
  const nodes = {}
  const store = {
    async put (cid, block) {
      if (cid.code === DAG_PB) {
        nodes[cid.toV1().toString()] = Buffer.from(block).toString('base64')
      }
      return cid
    }
  }
  const options = { wrapWithDirectory: true, ...job.options }
  if (job.chunk !== undefined) {
    options.chunker = fixedSize({ chunkSize: job.chunk })
  }
  if (job.width !== undefined) {
    options.layout = balanced({ maxChildrenPerNode: job.width })
  }
  const cids = {}
  for await (const entry of importer(job.entries.map(candidate), store, options)) {
    cids[entry.path ?? ''] = entry.cid.toV1().toString()
  }
  return { cids, nodes }
}

const results = []
for (const job of JSON.parse(await text(process.stdin))) {
  results.push(await run(job))
}
process.stdout.write(JSON.stringify(results))
