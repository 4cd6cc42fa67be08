// Reads a job as JSON from standard input, takes the blocks of a CAR into memory, and reads paths.
//
//   {car: file, ask: [{path, offset?, length?}...]}     path = CID/a/b
//   -> {roots: [CID...], blocks: number, found: [{type, size, sha256, names?}...]}

import { CarReader } from '@ipld/car'
import { MemoryBlockstore } from 'blockstore-core'
import { IdentityBlockstore } from 'blockstore-core/identity'
import { exporter } from 'ipfs-unixfs-exporter'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { text } from 'node:stream/consumers'

async function answer (store, { path, offset, length }) {
  const entry = await exporter(path, store)
  if (entry.type === 'directory') {
    const names = []
    for await (const child of entry.entries()) {
      names.push(child.name)
    }
    return { type: entry.type, names: names.sort() }
  }
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of entry.content({ offset, length })) {
    hash.update(chunk)
    size += chunk.length
  }
  return { type: entry.type, size, sha256: hash.digest('hex') }
}

async function run (job) {
  const store = new IdentityBlockstore(new MemoryBlockstore(), { maxDigestLength: 128 })
  const reader = await CarReader.fromIterable(createReadStream(job.car))
  let blocks = 0
  for await (const { cid, bytes } of reader.blocks()) {
    await store.put(cid, bytes)
    blocks++
  }
  const found = []
  for (const each of job.ask) {
    found.push(await answer(store, each))
  }
  return { roots: (await reader.getRoots()).map(String), blocks, found }
}

const job = JSON.parse(await text(process.stdin))
process.stdout.write(JSON.stringify(await run(job)))
