//! Consume, transform, produce, exactly once: a transaction over two logs and a position, and what a
//! read-committed reader sees of it, also after a restart.
//!
//! Every order becomes a debit and a credit. The three facts of one order, debit, credit and "this
//! order is dealt with", are committed together, so no crash leaves one without the others.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use oncelog::batch::{BatchBuilder, DecodeLimits};
use oncelog::{
    AppendOptions, Engine, EngineOptions, Isolation, Log, LogConfig, LogName, Offset, Transaction,
};
use std::error::Error;

const GROUP: &str = "ledger";
const NOW_MS: i64 = 1_700_000_000_000;

fn record(value: &str) -> oncelog::Result<BatchBuilder> {
    let mut builder = BatchBuilder::new();
    builder.append(NOW_MS, None, Some(value.as_bytes()), &[])?;
    Ok(builder)
}

fn read(log: &Log, from: Offset, isolation: Isolation) -> oncelog::Result<Vec<(Offset, String)>> {
    let mut values = Vec::new();
    for stored in log.batches(from, isolation) {
        for entry in stored?.batch().records(&DecodeLimits::default())?.iter() {
            let entry = entry?;
            let value = String::from_utf8_lossy(entry.value().unwrap_or_default()).into_owned();
            values.push((entry.offset(), value));
        }
    }
    Ok(values)
}

/// Begins the transaction that deals with one order.
fn book(
    engine: &Engine,
    [orders, debits, credits]: &[Log; 3],
    (offset, order): &(Offset, String),
) -> oncelog::Result<Transaction> {
    let mut transaction = engine.begin()?;
    transaction.append(debits, record(&format!("{order}: -1"))?)?;
    transaction.append(credits, record(&format!("{order}: +1"))?)?;
    transaction.store_position(GROUP, orders, offset.next())?;
    Ok(transaction)
}

/// Goes on where the committed transactions left off.
fn book_new_orders(engine: &Engine, logs: &[Log; 3]) -> oncelog::Result<usize> {
    let from = engine.position(GROUP, &logs[0])?.unwrap_or(Offset::ZERO);
    let orders = read(&logs[0], from, Isolation::ReadCommitted)?;
    for order in &orders {
        book(engine, logs, order)?.commit()?.wait()?;
    }
    Ok(orders.len())
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let options = EngineOptions::new(directory.path());
    let names =
        [LogName::new("orders", 0)?, LogName::new("debits", 0)?, LogName::new("credits", 0)?];

    let engine = Engine::open(options.clone())?;
    let create = |name| engine.open_log(name, LogConfig::default());
    let logs = [create(&names[0])?, create(&names[1])?, create(&names[2])?];
    for order in ["tea", "milk", "honey"] {
        logs[0].append(&record(order)?.build()?, &AppendOptions::default())?.wait()?;
    }
    println!("booked {} orders", book_new_orders(&engine, &logs)?);

    // While a transaction is open, read-committed readers see nothing of it, and after an abort they
    // never do.
    let again = (Offset::ZERO, "tea, by mistake".to_owned());
    let mistake = book(&engine, &logs, &again)?;
    assert_eq!(read(&logs[1], Offset::ZERO, Isolation::ReadCommitted)?.len(), 3);
    mistake.abort();
    assert_eq!(engine.position(GROUP, &logs[0])?, Some(Offset::new(3)));
    engine.close()?;
    drop((engine, logs));

    let engine = Engine::open(options)?;
    let logs = [engine.log(&names[0])?, engine.log(&names[1])?, engine.log(&names[2])?];
    assert_eq!(book_new_orders(&engine, &logs)?, 0);
    for log in &logs[1..] {
        let committed = read(log, Offset::ZERO, Isolation::ReadCommitted)?;
        let all = read(log, Offset::ZERO, Isolation::ReadUncommitted)?;
        println!("{}: committed {committed:?}, all {}", log.name(), all.len());
        assert_eq!((committed.len(), all.len()), (3, 4));
    }
    engine.close()?;
    Ok(())
}
