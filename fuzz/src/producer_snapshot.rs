//! Stored producers of foreign bytes, in both forms, the small text files beside them, and what the
//! transaction log says.
//!
//! ```text
//! kind: 1 byte | the file
//! ```
//!
//! A table that was accepted is written and read again as the same table, and it works: it admits
//! and applies batches, expires, and forgets. Odd kinds get a right checksum first.

use super::seal;
use oncelog::fuzzing;

pub fn check(input: &[u8]) {
    let Some((&kind, file)) = input.split_first() else { return };
    let mut file = file.to_vec();
    let seal = kind & 1 != 0;
    match kind >> 1 {
        0 => {
            if seal {
                seal::snapshot(&mut file);
            }
            fuzzing::snapshot(&file);
        }
        1 => {
            if seal {
                seal::state(&mut file);
            }
            fuzzing::state(&file);
        }
        2 => fuzzing::text_files(&file),
        _ => fuzzing::transaction_record(&file),
    }
}
