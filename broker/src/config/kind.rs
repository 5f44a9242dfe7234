//! What values a key takes: its type, its bounds, and how a refusal is worded.

/// The type and bounds of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 32-bit integer within bounds.
    Int(i32, i32),
    /// A 64-bit integer within bounds.
    Long(i64, i64),
    /// A decimal number within bounds.
    Double(f64, f64),
    /// Any text.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma-separated list of these words; of any words if there are none.
    List(&'static [&'static str]),
}

impl Kind {
    /// Whether `value` is acceptable; if not, what would be.
    pub(crate) fn check(self, value: &str) -> Result<(), String> {
        let fits = match self {
            Self::Bool => matches!(value, "true" | "false"),
            Self::Int(low, high) => value.parse().is_ok_and(|v: i32| (low..=high).contains(&v)),
            Self::Long(low, high) => value.parse().is_ok_and(|v: i64| (low..=high).contains(&v)),
            Self::Double(low, high) => value.parse().is_ok_and(|v: f64| (low..=high).contains(&v)),
            Self::Text => true,
            Self::OneOf(words) => words.contains(&value),
            Self::List([]) => true,
            Self::List(words) => words_of(value).all(|word| words.contains(&word)),
        };
        if fits { Ok(()) } else { Err(self.accepts()) }
    }

    /// What the key accepts, in words.
    fn accepts(self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Int(low, high) => range(i64::from(low), i64::from(high), i64::from(i32::MAX)),
            Self::Long(low, high) => range(low, high, i64::MAX),
            Self::Double(low, high) => format!("a number from {low} to {high}"),
            Self::Text => "any text".into(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::List(words) => format!("a list of {}", words.join(", ")),
        }
    }

    /// Kafka's code for the type, as DescribeConfigs reports it.
    pub(crate) fn wire_type(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::Text | Self::OneOf(_) => 2,
            Self::Int(..) => 3,
            Self::Long(..) => 5,
            Self::Double(..) => 6,
            Self::List(_) => 7,
        }
    }
}

/// The words of a comma-separated list.
pub(crate) fn words_of(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn range(low: i64, high: i64, unbounded: i64) -> String {
    if high == unbounded {
        format!("a whole number of at least {low}")
    } else {
        format!("a whole number from {low} to {high}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_accepted() {
        assert_eq!(Kind::Int(1, 9).check("10").unwrap_err(), "a whole number from 1 to 9");
        assert_eq!(
            Kind::Long(-1, i64::MAX).check("x").unwrap_err(),
            "a whole number of at least -1"
        );
        assert_eq!(Kind::Bool.check("yes").unwrap_err(), "true or false");
        assert!(Kind::OneOf(&["a", "b"]).check("b").is_ok());
        assert!(Kind::List(&["delete", "compact"]).check("compact, delete").is_ok());
        assert!(Kind::List(&["delete", "compact"]).check("shred").is_err());
    }
}
