//! What links promise, asked through the public API.
//!
//! | file | promises |
//! | --- | --- |
//! | `rules` | hold for every packet: nothing is lost from sight, order, rate, bounds, what a change moves and what not |
//! | `chance` | hold for many packets: shares, lengths of bursts, distributions |
//! | `driver` | whoever drives a link: keeps its packets and calls it in time |

mod chance;
mod driver;
mod rules;
