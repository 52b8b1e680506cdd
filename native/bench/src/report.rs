//! One JSON object a line on standard output; notes for people on standard error.

/// Collects the rows of one bench.
pub struct Report {
    /// First part of row names.
    pub bench: &'static str,
}

impl Report {
    /// A row. `baseline` is (name, ratio; above 1 is better).
    pub fn row(&mut self, case: &str, metric: &str, value: f64, unit: &str, baseline: Option<(&str, f64)>) {
        let (name, ratio) = match baseline {
            Some((name, ratio)) => (format!("{name:?}"), format!("{ratio}")),
            None => ("null".into(), "null".into()),
        };
        let bench = self.bench;
        println!(
            "{{\"bench\":\"{bench}\",\"case\":\"{case}\",\"metric\":\"{metric}\",\"value\":{value},\"unit\":\"{unit}\",\"baseline\":{name},\"ratio\":{ratio}}}"
        );
    }

    /// A line for people.
    pub fn note(&self, text: &str) {
        eprintln!("{text}");
    }
}
