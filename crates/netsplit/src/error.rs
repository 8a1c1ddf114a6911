//! The one error of the API: a message with the remedy, its stable name, and how the process ended if one did.

use std::fmt;

use netsplit_model::{Outcome, Place, Reason, Trouble, Verdict};

/// What a test returns, and every operation of the API.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Something went wrong. Shown, it is the whole message; [`Self::name`] is what programs look at.
#[derive(Clone)]
#[expect(clippy::error_impl_error, reason = "`netsplit::Error` is its name")]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    trouble: Trouble,
    outcome: Option<Outcome>,
}

impl Error {
    /// An error that a test makes itself.
    pub fn new(name: Reason, text: impl Into<String>) -> Self {
        Trouble::new(name, text).into()
    }

    /// The stable name: [`Reason::WaitTimedOut`] and so on.
    pub fn name(&self) -> Reason {
        self.inner.trouble.name
    }

    /// How the process ended that this is about.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.inner.outcome.as_ref()
    }

    /// The message in its parts.
    pub fn trouble(&self) -> &Trouble {
        &self.inner.trouble
    }

    /// The verdict of a test that ends with this.
    pub fn verdict(&self) -> Verdict {
        self.inner.trouble.verdict()
    }

    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.inner.outcome = Some(outcome);
        self
    }

    pub(crate) fn in_force(mut self, faults: Vec<String>) -> Self {
        self.inner.trouble = self.inner.trouble.in_force(faults);
        self
    }

    pub(crate) fn at(mut self, place: Option<Place>) -> Self {
        self.inner.trouble = self.inner.trouble.at(place);
        self
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self { inner: Box::new(Inner { trouble, outcome: None }) }
    }
}

/// Errors of the test's own, so that `?` on them works in a test that returns [`Result`], and its place is told.
macro_rules! from_foreign {
    ($($foreign:ty),+) => {$(
        impl From<$foreign> for Error {
            #[track_caller]
            fn from(error: $foreign) -> Self {
                let place = crate::place::of(std::panic::Location::caller());
                Self::new(Reason::TestError, error.to_string()).at(place)
            }
        }
    )+};
}

from_foreign!(std::io::Error, std::num::ParseIntError, std::str::Utf8Error, std::string::FromUtf8Error);
from_foreign!(tokio::task::JoinError, tokio::time::error::Elapsed);
// For all others: `.map_err(|error| error.to_string())?`, `.ok_or("no leader")?`.
from_foreign!(String, &str, Box<dyn std::error::Error + Send + Sync>);

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        error.inner.trouble
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.trouble.fmt(f)
    }
}

/// The same as shown: it is what `unwrap` and a test's `?` print.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.trouble)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_and_a_text_have_the_place_of_their_question_mark() {
        fn text() -> Result {
            Ok(Err("no leader")?)
        }
        fn boxed() -> Result {
            let number: std::result::Result<u8, Box<dyn std::error::Error + Send + Sync>> = Err("odd".into());
            number?;
            Ok(())
        }
        let shown = [text(), boxed()].map(|result| {
            let trouble = result.unwrap_err().trouble().clone();
            (trouble.text, trouble.place.unwrap().line)
        });
        assert_eq!(shown, [("no leader".to_owned(), line!() - 11), ("odd".to_owned(), line!() - 7)]);
    }

    #[test]
    fn an_io_error_has_the_place_of_its_question_mark() {
        fn read() -> Result<Vec<u8>> {
            Ok(std::fs::read("/nowhere/at all")?)
        }
        let error = read().unwrap_err();
        assert_eq!(error.name(), Reason::TestError);
        let place = error.trouble().place.as_ref().unwrap();
        assert_eq!((place.file.ends_with("src/error.rs"), place.line), (true, line!() - 5));
    }
}
