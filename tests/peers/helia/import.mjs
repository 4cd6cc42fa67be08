// Reads a job as JSON from standard input, imports it with Helia's importer, and writes as JSON the
// CID of its root and the dag-pb nodes that were made.
//
//   {options: {...}, chunk?: bytes, width?: links, entries: [entry...]}
//   entry = {path, text, size, mode?} (`text` over and over, `size` bytes), {path, link}, or {path}
//   -> {root: CID, nodes: {CID: base64}}

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
  let root
  for await (const entry of importer(job.entries.map(candidate), store, options)) {
    root = entry.cid.toV1().toString()
  }
  return { root, nodes }
}

const job = JSON.parse(await text(process.stdin))
process.stdout.write(JSON.stringify(await run(job)))
