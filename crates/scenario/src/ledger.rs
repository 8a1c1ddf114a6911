//! Where mistakes are written down while everything is read to its end.

use std::collections::HashSet;

use netsplit_model::{Place, Reason, Trouble};

use crate::Sources;
use crate::source::Span;

/// All that was found wrong so far, and the texts it stands in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) sources: Sources,
    mistakes: Vec<(Option<Span>, Trouble)>,
    warnings: Vec<(Option<Span>, Trouble)>,
    /// Steps are read once for each case of a matrix and each use of a procedure: a mistake counts once.
    seen: HashSet<(Option<Span>, Reason, String)>,
}

impl Ledger {
    /// Writes down a mistake at `span`.
    pub(crate) fn mistake(&mut self, span: Span, trouble: Trouble) {
        self.mistake_at(Some(span), trouble);
    }

    /// Writes down a mistake that stands in no file.
    pub(crate) fn mistake_at(&mut self, span: Option<Span>, trouble: Trouble) {
        if self.seen.insert((span, trouble.name, trouble.text.clone())) {
            self.mistakes.push((span, trouble));
        }
    }

    /// Writes down what does not keep the scenario from running.
    pub(crate) fn warning(&mut self, span: Span, trouble: Trouble) {
        if self.seen.insert((Some(span), trouble.name, trouble.text.clone())) {
            self.warnings.push((Some(span), trouble));
        }
    }

    /// Two things have one name: points to both.
    pub(crate) fn duplicate(&mut self, text: impl Into<String>, span: Span, first: Span) {
        let hint = format!("first {}", self.sources.named_from(first, span));
        self.mistake(span, Trouble::new(Reason::DuplicateName, text).hint(hint));
    }

    pub(crate) fn has_mistakes(&self) -> bool {
        !self.mistakes.is_empty()
    }

    /// Whether a mistake of this name was written down.
    pub(crate) fn has(&self, name: Reason) -> bool {
        self.mistakes.iter().any(|(_, trouble)| trouble.name == name)
    }

    pub(crate) fn place(&self, span: Span) -> Place {
        let nowhere = || Place { file: String::new(), line: 1, column: 1, width: 0 };
        self.sources.place(span).unwrap_or_else(nowhere)
    }

    /// The mistakes and the warnings, in the order of their places, and the texts.
    pub(crate) fn close(self) -> (Vec<Trouble>, Vec<Trouble>, Sources) {
        let Self { sources, mistakes, warnings, .. } = self;
        let sorted = |mut troubles: Vec<(Option<Span>, Trouble)>| {
            troubles.sort_by_key(|(span, _)| span.map(|span| span.start));
            let placed = troubles.into_iter();
            let place = |span: Option<Span>| span.and_then(|span| sources.place(span));
            placed.map(|(span, trouble)| trouble.at(place(span))).collect::<Vec<_>>()
        };
        let (mistakes, warnings) = (sorted(mistakes), sorted(warnings));
        (mistakes, warnings, sources)
    }
}
