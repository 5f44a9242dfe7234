//! The rules of an append.
