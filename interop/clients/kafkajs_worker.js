// kafkajs as a worker; the command line and the text form of a record are those of common.py.
'use strict'

const fs = require('fs')
const readline = require('readline')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')
const transactions = require('./kafkajs_transactions')

const NULL = '\\N'
const HEADERS = { n: 'interop' }
const RECORDS_PER_REQUEST = 200
const WAIT_MS = 60000

// kafkajs brings gzip only; the other three are what its documentation tells a user to plug in.
const zstd = new Promise(resolve => ZstdCodec.run(codec => resolve(new codec.Streaming())))
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async buffer => Buffer.from((await zstd).decompress(buffer)),
})

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

const client = bootstrap =>
  new Kafka({
    brokers: [bootstrap],
    logLevel: logLevel.ERROR,
    logCreator: () => ({ log }) => process.stderr.write(`${JSON.stringify(log)}\n`),
    retry: { retries: 300, initialRetryTime: 50, maxRetryTime: 500 },
  })

async function create(bootstrap, topic, partitions) {
  const admin = client(bootstrap).admin()
  await admin.connect()
  await admin.createTopics({
    topics: [{ topic, numPartitions: Number(partitions), replicationFactor: 1 }],
  })
  await admin.disconnect()
}

async function produce(bootstrap, topic, codec) {
  const producer = client(bootstrap).producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  let acked = 0
  let messages = []
  const send = async () => {
    await producer.send({ topic, acks: -1, compression: CODECS[codec], messages })
    acked += messages.length
    messages = []
    console.log(`acked ${acked}`)
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [partition, timestamp, key, value] = line.split('\t')
    messages.push({
      partition: Number(partition),
      timestamp,
      key,
      value: value === NULL ? null : value,
      headers: HEADERS,
    })
    if (messages.length === RECORDS_PER_REQUEST) await send()
  }
  if (messages.length > 0) await send()
  await producer.disconnect()
  console.log(`done ${acked}`)
}

function line(topic, partition, message) {
  const headers = Object.entries(message.headers || {}).map(([k, v]) => `${k}=${v}`)
  const text = bytes => (bytes === null ? NULL : bytes.toString())
  const { offset, timestamp, key, value } = message
  return [topic, partition, offset, timestamp, text(key), headers, text(value)].join('\t') + '\n'
}

// kafkajs reads as a member of a group only; `wanted` takes one message and says whether to go on. It is
// also told up to where a batch went: messages that are not served, as they were aborted, are of it too.
async function read(bootstrap, topics, group, isolation, out, wanted) {
  const readUncommitted = isolation === 'read_uncommitted'
  const consumer = client(bootstrap).consumer({ groupId: group, readUncommitted })
  const positions = new Map()
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  await new Promise((resolve, reject) => {
    const timer = () => setTimeout(() => reject(new Error('no record for 60 s')), WAIT_MS)
    let watchdog = timer()
    let done = false
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    const finish = () => {
      done = true
      clearTimeout(watchdog)
      resolve()
    }
    if (!wanted.more()) return finish()
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
      if (done) return
      wanted.reach(payload.topic, payload.partition, payload.lastOffset)
      if (!wanted.more()) finish()
    })
    return consumer
      .run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: async ({ batch: { topic, partition, messages }, resolveOffset, heartbeat }) => {
          clearTimeout(watchdog)
          for (const message of messages) {
            if (done) return
            out.write(line(topic, partition, message))
            positions.set(`${topic}\t${partition}`, (BigInt(message.offset) + 1n).toString())
            resolveOffset(message.offset)
            wanted.take()
            if (!wanted.more()) return finish()
          }
          await heartbeat()
          watchdog = timer()
        },
      })
      .catch(reject)
  })
  return { consumer, positions }
}

async function consume(bootstrap, path, isolation, ...topics) {
  const admin = client(bootstrap).admin()
  await admin.connect()
  const open = new Map()
  for (const topic of topics) {
    for (const { partition, high, low } of await admin.fetchTopicOffsets(topic)) {
      if (high !== low) open.set(`${topic}\t${partition}`, BigInt(high))
    }
  }
  await admin.disconnect()
  const wanted = {
    more: () => open.size > 0,
    take: () => {},
    reach: (topic, partition, offset) => {
      const id = `${topic}\t${partition}`
      if (BigInt(offset) + 1n >= open.get(id)) open.delete(id)
    },
  }
  const out = fs.createWriteStream(path)
  const group = `read-${process.pid}-${Date.now()}`
  const { consumer } = await read(bootstrap, topics, group, isolation, out, wanted)
  await consumer.disconnect()
  await new Promise(resolve => out.end(resolve))
}

async function group(bootstrap, path, topic, name, count) {
  let left = Number(count)
  const wanted = { more: () => left > 0, take: () => left--, reach: () => {} }
  const out = fs.createWriteStream(path)
  const { consumer, positions } = await read(bootstrap, [topic], name, 'read_committed', out, wanted)
  await consumer.commitOffsets(
    [...positions].map(([id, offset]) => ({ topic, partition: Number(id.split('\t')[1]), offset }))
  )
  await consumer.disconnect()
  await new Promise(resolve => out.end(resolve))
}

const transform = (bootstrap, ...rest) => transactions.transform(client(bootstrap), ...rest)
const commands = { create, produce, consume, group, transform }
const [command, ...rest] = process.argv.slice(2)
commands[command](...rest).then(
  () => process.exit(0),
  error => {
    console.error(error)
    process.exit(1)
  }
)
