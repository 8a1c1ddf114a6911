//! Where a panic happened: who catches one is not told.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use netsplit_model::Place;

thread_local! {
    /// The text and place of this thread's last panic.
    static LAST: RefCell<Option<(String, Option<Place>)>> = const { RefCell::new(None) };
}

/// Notes the place of each panic from now on; what stood there before is still called.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note(info);
            before(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().and_then(crate::place::of);
    let noted = (text(info.payload()).to_owned(), place);
    // A thread that ends has no more notes, and a panic within a panic none either.
    let _too_late = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(noted)));
}

/// Where this thread's last panic happened, when it is the one of `payload`: panics can be passed on.
pub(crate) fn place(payload: &(dyn Any + Send)) -> Option<Place> {
    LAST.take().filter(|(said, _)| said == text(payload)).and_then(|(_, place)| place)
}

/// What a panic says.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}
