//! Where in the user's code something was asked for.

use std::panic::Location;

use netsplit_model::Place;

/// The place of a caller.
pub(crate) fn of(location: &Location<'_>) -> Option<Place> {
    Some(Place {
        file: location.file().to_owned(),
        line: location.line(),
        column: location.column(),
        width: 0,
    })
}
