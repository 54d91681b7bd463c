//! Amounts of cpu and memory: just enough to add them up and print the sum as Kubernetes does.

/// An amount in thousandths, and whether it is written with binary units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quantity {
    milli: i128,
    binary: bool,
}

const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
const DECIMAL: [(&str, u32); 6] = [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3)];

impl Quantity {
    /// Reads `100m`, `2`, `4Gi`, `1.5`; what cannot be read counts as none.
    pub(super) fn parse(text: &str) -> Self {
        let number_end = text.find(|next: char| !next.is_ascii_digit() && next != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
        let Ok(milli) = format!("{whole}{thousandths}").parse::<i128>() else { return Self::default() };
        if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == unit) {
            return Self { milli: milli << shift, binary: true };
        }
        if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == unit) {
            return Self { milli: milli * 10_i128.pow(*power), binary: false };
        }
        match unit {
            "" => Self { milli, binary: false },
            "m" => Self { milli: milli / 1000, binary: false },
            _ => Self::default(),
        }
    }

    /// The sum; it is written like the first amount that is not zero.
    pub(super) fn plus(self, other: Self) -> Self {
        let binary = if self.milli == 0 { other.binary } else { self.binary };
        Self { milli: self.milli + other.milli, binary }
    }

    /// Whole percents of another amount.
    pub(super) fn percent_of(self, whole: Self) -> i128 {
        if whole.milli == 0 { 0 } else { self.milli * 100 / whole.milli }
    }
}

impl std::fmt::Display for Quantity {
    /// The largest unit that leaves a whole number.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.milli % 1000 != 0 {
            return write!(out, "{}m", self.milli);
        }
        let value = self.milli / 1000;
        let units = if self.binary {
            BINARY.map(|(name, shift)| (name, 1_i128 << shift))
        } else {
            DECIMAL.map(|(name, power)| (name, 10_i128.pow(power)))
        };
        match units.iter().find(|(_, size)| value != 0 && value % size == 0) {
            Some((name, size)) => write!(out, "{}{name}", value / size),
            None => write!(out, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn amounts_are_read_added_and_printed() {
        for same in ["0", "100m", "2", "4Gi", "70Mi", "1k", "1500m", "129e"] {
            let expected = if same == "129e" { "0" } else { same };
            assert_eq!(Quantity::parse(same).to_string(), expected);
        }
        let sum = |a: &str, b: &str| Quantity::parse(a).plus(Quantity::parse(b)).to_string();
        assert_eq!(sum("100m", "1.9"), "2");
        assert_eq!(sum("0", "70Mi"), "70Mi");
        assert_eq!(sum("1Gi", "1Mi"), "1025Mi");
        assert_eq!(Quantity::parse("500m").percent_of(Quantity::parse("2")), 25);
    }
}
