//! Histograms with fixed bounds.

use std::fmt::Write;

/// CoreDNS's `TimeBuckets`: 0.25 ms, doubled fifteen times.
pub(crate) static DURATIONS: [f64; 16] = [
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048,
    4.096, 8.192,
];
/// CoreDNS's `SlimTimeBuckets`: 0.25 ms, times ten.
pub(crate) static SLIM_DURATIONS: [f64; 5] = [0.00025, 0.0025, 0.025, 0.25, 2.5];
/// The Prometheus client's own for Go, which are CoreDNS's for requests to the API.
pub(crate) static REQUEST_DURATIONS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From 1 ms to about 9 minutes, doubled, as CoreDNS's.
pub(crate) static PROGRAMMING_DURATIONS: [f64; 20] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
    32.768, 65.536, 131.072, 262.144, 524.288,
];
/// CoreDNS's buckets of message sizes.
pub(crate) static SIZES: [f64; 14] = [
    0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16_000.0, 32_000.0, 48_000.0,
    64_000.0,
];

/// Counts of values by size.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one above all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Adds what was counted elsewhere by the same bounds.
    pub(crate) fn merge(&mut self, counts: impl Iterator<Item = u64>, sum: f64) {
        self.counts.iter_mut().zip(counts).for_each(|(own, other)| *own += other);
        self.sum += sum;
    }

    pub(crate) fn render(&self, name: &str, labels: &str, text: &mut String) {
        let separator = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        // Writing to a String cannot fail.
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count;
            let _ = writeln!(text, "{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {total}");
        }
        total += self.counts.last().copied().unwrap_or(0);
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}_bucket{{{labels}{separator}le=\"+Inf\"}} {total}");
        let _ = writeln!(text, "{name}_sum{braced} {}\n{name}_count{braced} {total}", self.sum);
    }
}
