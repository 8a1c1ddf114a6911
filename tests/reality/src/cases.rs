//! The list of cases. What they do is in `cases/`, a file a subject; their order here is the order in which they run.

mod files;
mod names;
mod signals;
mod tcp_blocking;
mod tcp_bytes;
mod tcp_end;
mod tcp_open;
mod threads;
mod timers;
mod tokio_files;
mod tree;
mod udp;
mod unix;

use std::fmt;
use std::io;
use std::pin::Pin;

use crate::Seen;

/// What a program does and sees.
pub struct Case {
    /// Subject and name, as in `tcp_end::half_close`.
    pub name: &'static str,
    pub(crate) run: Run,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

type Pending = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Where a case runs.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// In a task.
    Task(fn(Seen) -> Pending),
    /// In a thread that it may block.
    Blocking(fn(&Seen) -> io::Result<()>),
}

macro_rules! task {
    ($subject:ident :: $name:ident) => {
        Case {
            name: concat!(stringify!($subject), "::", stringify!($name)),
            run: Run::Task(|seen| Box::pin($subject::$name(seen))),
        }
    };
}

macro_rules! blocking {
    ($subject:ident :: $name:ident) => {
        Case {
            name: concat!(stringify!($subject), "::", stringify!($name)),
            run: Run::Blocking($subject::$name),
        }
    };
}

/// Every case.
pub const CASES: &[Case] = &[
    task!(tcp_open::refused),
    task!(tcp_open::refused_v6),
    task!(tcp_open::refused_once_the_listener_is_gone),
    task!(tcp_open::accepted_in_order),
    task!(tcp_open::addresses),
    task!(tcp_open::over_v6),
    task!(tcp_open::families_do_not_mix),
    task!(tcp_open::address_in_use),
    task!(tcp_open::address_of_a_closed_stream),
    task!(tcp_open::shared_port),
    task!(tcp_open::address_of_nobody_here),
    task!(tcp_open::bound_client),
    task!(tcp_open::backlog_is_full),
    task!(tcp_open::backlog_keeps_what_clients_wrote),
    task!(tcp_open::backlog_keeps_what_was_reset),
    task!(tcp_open::listener_goes_with_its_backlog),
    task!(tcp_open::cancelled_accept),
    task!(tcp_open::connected_to_itself),
    task!(tcp_open::many_at_once),
    task!(tcp_end::half_close),
    task!(tcp_end::end_is_read_again_and_again),
    task!(tcp_end::write_after_own_shutdown),
    task!(tcp_end::write_after_the_peers_close),
    task!(tcp_end::write_before_the_peers_close_is_seen),
    task!(tcp_end::reset_by_zero_linger),
    task!(tcp_end::reset_is_told_to_the_first_who_asks),
    task!(tcp_end::reset_as_an_error_of_the_socket),
    task!(tcp_end::reset_by_unread_bytes),
    task!(tcp_end::reset_leaves_what_had_come),
    task!(tcp_end::reset_ends_a_read_that_waits),
    task!(tcp_end::both_close_at_once),
    task!(tcp_end::dropped_half_is_a_half_close),
    task!(tcp_end::forgotten_half_is_no_close),
    task!(tcp_end::joined_halves),
    task!(tcp_end::readiness_tells_the_end),
    task!(tcp_end::clients_port_is_free_after_a_reset),
    task!(tcp_end::exact_read_that_ends_early),
    task!(tcp_bytes::echo),
    task!(tcp_bytes::small_writes_keep_their_order),
    task!(tcp_bytes::large_write_and_a_slow_reader),
    task!(tcp_bytes::full_until_somebody_reads),
    task!(tcp_bytes::both_ways_at_once),
    task!(tcp_bytes::proxy),
    task!(tcp_bytes::cancelled_read),
    task!(tcp_bytes::cancelled_exact_read),
    task!(tcp_bytes::cancelled_line),
    task!(tcp_bytes::cancelled_write),
    task!(tcp_bytes::peek),
    task!(tcp_bytes::nothing_to_read),
    task!(tcp_bytes::nothing_at_all),
    task!(tcp_bytes::vectored),
    task!(tcp_bytes::read_in_pieces),
    task!(tcp_bytes::numbers),
    task!(tcp_bytes::no_delay),
    task!(tcp_bytes::options),
    task!(tcp_bytes::linger_is_kept),
    task!(tcp_bytes::linger_delivers),
    blocking!(tcp_blocking::lines),
    blocking!(tcp_blocking::accept_waits),
    blocking!(tcp_blocking::read_timeout),
    blocking!(tcp_blocking::write_timeout),
    blocking!(tcp_blocking::non_blocking),
    blocking!(tcp_blocking::connect_timeout),
    blocking!(tcp_blocking::shutdowns),
    blocking!(tcp_blocking::shutdown_wakes_a_reader),
    blocking!(tcp_blocking::clones_are_one_stream),
    blocking!(tcp_blocking::peek_waits),
    task!(udp::exchange),
    task!(udp::over_v6),
    task!(udp::cut_to_the_buffer),
    task!(udp::empty),
    task!(udp::largest),
    task!(udp::boundaries_and_order),
    task!(udp::refused_when_connected),
    task!(udp::refused_is_told_to_the_next_send),
    task!(udp::unconnected_is_not_told),
    task!(udp::connected_hears_its_peer_alone),
    task!(udp::without_a_destination),
    task!(udp::peek),
    task!(udp::address_in_use),
    task!(udp::overrun),
    task!(udp::options),
    task!(udp::groups_are_joined_once),
    task!(udp::cancelled_receive),
    blocking!(udp::blocking),
    task!(unix::stream),
    task!(unix::names_in_the_file_system),
    task!(unix::renamed_and_removed),
    blocking!(unix::names_beside_the_file_system),
    task!(unix::ends_of_a_pair),
    task!(unix::close_over_unread_bytes),
    task!(unix::full_stream),
    task!(unix::credentials),
    task!(unix::datagrams),
    task!(unix::datagrams_by_name),
    task!(unix::pipes),
    task!(unix::full_pipe),
    blocking!(unix::blocking_pipe),
    task!(unix::what_can_be_polled),
    task!(names::localhost),
    task!(names::numbers),
    task!(names::no_addresses),
    task!(names::first_that_answers),
    task!(names::connect_by_name),
    blocking!(names::blocking),
    task!(timers::sleep_is_never_short),
    task!(timers::sleeps_end_in_order),
    task!(timers::sleep_until_the_past),
    task!(timers::reset_to_later),
    task!(timers::timeouts),
    task!(timers::ten_thousand),
    task!(timers::dropped_sleeps_wake_nobody),
    task!(timers::interval),
    task!(timers::missed_ticks_in_a_burst),
    task!(timers::missed_ticks_skipped),
    task!(timers::missed_ticks_delay_the_others),
    task!(timers::interval_reset),
    blocking!(timers::clocks_go_forward),
    blocking!(timers::sleeping_threads),
    task!(timers::threads_and_tasks_share_a_clock),
    blocking!(threads::join),
    blocking!(threads::channels),
    blocking!(threads::narrow_channels),
    blocking!(threads::conditions),
    blocking!(threads::parking),
    blocking!(threads::barriers),
    blocking!(threads::locks),
    blocking!(threads::done_once),
    blocking!(threads::locals),
    task!(threads::blocking_tasks),
    task!(threads::tasks_fall_and_are_aborted),
    task!(threads::waking_across_threads),
    task!(threads::permits),
    blocking!(threads::runtimes_in_threads),
    blocking!(threads::end_of_a_runtime),
    blocking!(threads::parallelism),
    blocking!(threads::spins_on_the_clock),
    blocking!(files::write_and_read),
    blocking!(files::create_new),
    blocking!(files::modes_of_opening),
    blocking!(files::append),
    blocking!(files::append_at_an_offset),
    blocking!(files::seeks),
    blocking!(files::offsets),
    blocking!(files::holes),
    blocking!(files::cut_and_grown),
    blocking!(files::two_handles),
    blocking!(files::clones_share_a_position),
    blocking!(files::removed_while_open),
    blocking!(files::buffered),
    blocking!(files::vectored),
    blocking!(files::large),
    blocking!(files::syncs),
    blocking!(files::replaced_at_once),
    blocking!(files::locks),
    blocking!(files::lock_that_waits),
    blocking!(files::devices),
    task!(signals::awaited),
    blocking!(signals::handlers_run_before_raise_returns),
    blocking!(signals::held_back),
    blocking!(signals::taken_by_waiting),
    blocking!(signals::sleeps_are_interrupted),
    blocking!(signals::reads_go_on_if_they_may),
    blocking!(signals::alarms),
    blocking!(tree::listing),
    blocking!(tree::listing_of_a_thousand),
    blocking!(tree::create_dir),
    blocking!(tree::remove),
    blocking!(tree::remove_all),
    blocking!(tree::rename_files),
    blocking!(tree::rename_folders),
    blocking!(tree::folders_in_use),
    blocking!(tree::folders_are_no_files),
    blocking!(tree::names_too_long),
    blocking!(tree::dots_and_slashes),
    blocking!(tree::symbolic_links),
    blocking!(tree::links_to_folders),
    blocking!(tree::links_to_nothing),
    blocking!(tree::chains_of_links),
    blocking!(tree::hard_links),
    blocking!(tree::metadata),
    blocking!(tree::permissions),
    blocking!(tree::times),
    blocking!(tree::times_of_folders),
    blocking!(tree::canonical_paths),
    blocking!(tree::copies),
    blocking!(tree::deep_trees),
    task!(tokio_files::round_trip),
    task!(tokio_files::handles),
    task!(tokio_files::late_errors),
    task!(tokio_files::lines),
    task!(tokio_files::folders),
    task!(tokio_files::many_at_once),
    task!(tokio_files::appended_by_tasks),
    task!(tokio_files::cancelled_reads_go_on),
    task!(tokio_files::between_files_and_sockets),
    task!(tokio_files::handles_change_sides),
];
