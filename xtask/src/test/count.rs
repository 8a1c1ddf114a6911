//! How many tests ran: read out of what test runners print at their end.

use std::ops::AddAssign;

/// So many tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Counts {
    /// One check that is no test of a runner's.
    pub(crate) fn of(ok: bool) -> Self {
        Self { passed: u64::from(ok), failed: u64::from(!ok), skipped: 0 }
    }

    /// What a runner's output says, which ended well or not. A runner that fell over without a word failed once.
    pub(crate) fn read(output: &str, ok: bool) -> Self {
        let mut counts = Self::default();
        let all =
            |begin: &'static str| output.lines().map(str::trim).filter(move |line| line.starts_with(begin));
        // nextest shows what each failed test's own runner said as well.
        let begin = if all("Summary [").next().is_some() { "Summary [" } else { "test result: " };
        for line in all(begin) {
            counts += Self::of_summary(line);
        }
        if !ok && counts.failed == 0 {
            counts.failed = 1;
        }
        counts
    }

    /// `… 5 passed; 1 failed; 2 ignored` and `… 5 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
    fn of_summary(line: &str) -> Self {
        let words: Vec<_> = line.split([' ', ';', ',', '.']).filter(|word| !word.is_empty()).collect();
        let mut counts = Self::default();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => counts.passed += number,
                "failed" | "timed" | "exec" => counts.failed += number,
                // What runners call ignored or skipped here are variants of a test for another provider.
                _ => {}
            }
        }
        counts
    }

    /// So many tests that their runner counts as passed only said that they could not run here.
    pub(crate) fn skip(&mut self, tests: u64) {
        let tests = tests.min(self.passed);
        self.passed -= tests;
        self.skipped += tests;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, ok: bool, wanted: [u64; 3]) {
        let [passed, failed, skipped] = wanted;
        assert_eq!(Counts::read(output, ok), Counts { passed, failed, skipped }, "{output}");
    }

    #[test]
    fn runners_say_it_differently() {
        let libtest = "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.10s";
        check(&format!("running 8 tests\n{libtest}\n{libtest}\n"), false, [10, 2, 0]);
        check(
            "     Summary [   1.2s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 4 skipped",
            false,
            [6, 3, 0],
        );
        check(
            &format!("{libtest}\n Summary [   1.2s] 2 tests run: 1 passed, 1 failed, 0 skipped"),
            false,
            [1, 1, 0],
        );
        check("     Summary [   1.2s] 1 test run: 1 passed, 0 skipped", true, [1, 0, 0]);
    }

    #[test]
    fn a_runner_that_fell_over_failed() {
        check("running 3 tests\nSegmentation fault", false, [0, 1, 0]);
        check("", true, [0, 0, 0]);
    }

    #[test]
    fn what_could_not_run_did_not_pass() {
        let mut counts = Counts { passed: 3, ..Counts::default() };
        counts.skip(2);
        assert_eq!(counts, Counts { passed: 1, failed: 0, skipped: 2 });
    }
}
