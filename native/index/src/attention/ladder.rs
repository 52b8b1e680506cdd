//! Plans of a head for budgets of error, looser and tighter.

use super::plan::Plan;

/// What a head does to keep errors of some size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    /// The error that the plan keeps.
    pub holds: f32,
    pub plan: Plan,
}

/// The plans that were measured, those for looser budgets first.
#[derive(Clone, Debug)]
pub(super) struct Ladder(Vec<Rung>);

impl Ladder {
    /// Of rungs in any order.
    pub fn new(mut rungs: Vec<Rung>) -> Self {
        rungs.sort_by(|a, b| b.holds.total_cmp(&a.holds));
        Self(rungs)
    }

    /// One plan, whatever the budget.
    pub fn always(plan: Plan) -> Self {
        Self(vec![Rung { holds: 0.0, plan }])
    }

    /// Every plan that a budget may call for.
    pub fn plans(&self) -> impl Iterator<Item = Plan> {
        self.0.iter().map(|rung| rung.plan)
    }

    /// The plan that keeps `error`: between two by clusters one that lies between, below all that was
    /// measured every key.
    pub fn plan(&self, error: f32) -> Plan {
        // Budgets arrive rounded: 1 - 0.99 is a little under 0.01.
        let error = 1.0001 * error;
        let Some(at) = self.0.iter().position(|rung| rung.holds <= error) else { return Plan::Exact };
        let own = self.0[at];
        let Plan::Clusters { threshold, fine } = own.plan else { return own.plan };
        // Errors grow no faster than thresholds.
        let looser = at.checked_sub(1).map(|before| self.0[before].plan);
        let most = if let Some(Plan::Clusters { threshold, .. }) = looser { threshold } else { threshold };
        Plan::Clusters { threshold: (threshold * error / own.holds).min(most).max(threshold), fine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tighter_budgets_get_stricter_plans_and_those_between_something_between() {
        let [loose, tight] = [0.04, 0.002].map(|threshold| Plan::Clusters { threshold, fine: false });
        let rung = |holds, plan| Rung { holds, plan };
        let ladder = Ladder::new(vec![rung(0.001, tight), rung(0.1, loose)]);
        assert_eq!([0.5, 0.1, 0.02, 0.0009].map(|error| ladder.plan(error)), [loose, loose, loose, Plan::Exact]);
        let mut before = 0.04;
        for error in [0.019, 0.01, 0.002, 0.001] {
            let Plan::Clusters { threshold, .. } = ladder.plan(error) else { panic!("{:?}", ladder.plan(error)) };
            assert!(threshold < before, "{threshold} at {error}");
            before = threshold;
        }
        assert!((before / 0.002 - 1.0).abs() < 1e-3, "{before}");
        let bytes = Plan::Bytes { share: 1e-3 };
        let ladder = Ladder::new(vec![rung(0.1, loose), rung(0.004, bytes), rung(0.001, Plan::Exact)]);
        let found = [0.2, 0.099, 0.004, 0.0039, 0.0001].map(|error| ladder.plan(error));
        assert_eq!(found, [loose, bytes, bytes, Plan::Exact, Plan::Exact]);
        assert_eq!(Ladder::always(bytes).plan(1e-9), bytes);
    }
}
