// Transactions of kafkajs, as its documentation teaches them; what a transform does is told in common.py.
'use strict'

const TAKE = 100
const ABORT_EVERY = 3
const WAIT_MS = 60000
const LEAVE_MS = 3000

class Transform {
  constructor(client, source, target, groupId, transactionalId, count) {
    Object.assign(this, { source, target, groupId, count: BigInt(count) })
    this.admin = client.admin()
    this.producer = client.producer({ transactionalId, maxInFlightRequests: 1, idempotent: true })
    this.consumer = client.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 1000 })
    this.committed = new Map()
    this.passes = 0
    this.aborted = 0
  }

  async run() {
    await this.admin.connect()
    await this.producer.connect()
    // The first transaction ends what an earlier instance has left open; only then the positions stand.
    await (await this.producer.transaction()).abort()
    await this.rewind()
    if (!this.done()) await this.work()
    console.log(`aborted ${this.aborted}`)
    console.log(`done ${this.total()}`)
  }

  total() {
    return [...this.committed.values()].reduce((sum, offset) => sum + offset, 0n)
  }

  done() {
    return this.total() >= this.count
  }

  // Where the group stands, partition by partition.
  async rewind() {
    const { groupId, source } = this
    const [{ partitions }] = await this.admin.fetchOffsets({ groupId, topics: [source] })
    for (const { partition, offset } of partitions) {
      this.committed.set(partition, BigInt(offset) < 0n ? 0n : BigInt(offset))
    }
    console.log(`acked ${this.total()}`)
  }

  async work() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.source], fromBeginning: true })
    await new Promise((resolve, reject) => {
      const timer = () => setTimeout(() => reject(new Error('no record for 60 s')), WAIT_MS)
      let watchdog = timer()
      this.consumer.on(this.consumer.events.CRASH, ({ payload }) => {
        if (!payload.restart) reject(payload.error)
      })
      const eachBatch = async context => {
        clearTimeout(watchdog)
        try {
          await this.takeBatch(context)
        } catch (error) {
          return reject(error)
        }
        if (this.done()) return resolve()
        watchdog = timer()
      }
      this.consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch }).catch(reject)
    })
    await this.consumer.disconnect()
  }

  async takeBatch({ batch, resolveOffset, heartbeat, isStale, isRunning }) {
    const { partition, messages } = batch
    for (let at = 0; at < messages.length && !this.done(); at += TAKE) {
      if (!isRunning() || isStale()) return
      const part = messages.slice(at, at + TAKE)
      if (!(await this.pass(partition, part))) {
        await this.rewind()
        for (const [partition, offset] of this.committed) {
          this.consumer.seek({ topic: this.source, partition, offset: offset.toString() })
        }
        return
      }
      resolveOffset(part[part.length - 1].offset)
      await heartbeat()
    }
  }

  // One transaction. Says whether it happened; an error that leaves this open is the end of the producer.
  async pass(partition, messages) {
    const { groupId, source, target: topic } = this
    const transaction = await this.producer.transaction()
    try {
      const copies = messages.map(({ key, value, timestamp, headers }) => ({
        partition,
        key,
        value,
        timestamp,
        headers,
      }))
      await transaction.send({ topic, acks: -1, messages: copies })
      if (this.arrived(messages)) {
        await transaction.abort()
        return false
      }
      const offset = BigInt(messages[messages.length - 1].offset) + 1n
      const topics = [{ topic: source, partitions: [{ partition, offset: offset.toString() }] }]
      await transaction.sendOffsets({ consumerGroupId: groupId, topics })
      await transaction.commit()
      this.committed.set(partition, offset)
      console.log(`acked ${this.total()}`)
      return true
    } catch (error) {
      console.error(`aborts: ${error}`)
      await transaction.abort()
      return false
    }
  }

  arrived(messages) {
    console.log('open')
    this.passes += 1
    const doomed = this.passes % ABORT_EVERY === 0
    if (doomed) this.aborted += messages.length
    return doomed
  }

  // A member that goes without a word would keep its partitions for a session timeout.
  async leave() {
    const late = new Promise(resolve => setTimeout(resolve, LEAVE_MS))
    await Promise.race([this.consumer.disconnect().catch(() => {}), late])
  }
}

async function transform(client, ...rest) {
  const work = new Transform(client, ...rest)
  try {
    await work.run()
  } finally {
    await work.leave()
  }
}

module.exports = { transform }
