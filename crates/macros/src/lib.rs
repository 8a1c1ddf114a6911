//! The attributes `#[netsplit::test]` and `#[netsplit::program]`.

mod program;
mod test;

use proc_macro::TokenStream;

/// Makes an async function of a `Testbed` a test in every mode.
///
/// It becomes a module of the function's name with a plain `#[test]` a mode, so that names filter modes:
/// `cargo test simulated`, `cargo nextest run -E 'test(::namespace)'`. `simulated` runs in virtual time, each seed in a
/// process of its own; `namespace` on hosts of this machine; `elsewhere` is ignored unless asked for, and runs where
/// `NETSPLIT_PROVIDER` says. `#[ignore]`, `#[should_panic]`, `?` and `assert!` work as in any test; any
/// `Result<(), E: Debug>` may be returned.
///
/// | argument | meaning |
/// | --- | --- |
/// | `hosts = 3` | hosts `a`, `b`, `c` |
/// | `hosts = ["web", "db"]` | hosts by name |
/// | `hosts(member = 3, client = ["alice"])` | roles: `member0` to `member2`, and `alice` as `client` |
/// | `needs = ["pause"]` | skipped, with the reason, where the provider cannot do it |
/// | `seeds = 1000` | simulated with so many seeds rather than one; `NETSPLIT_SEEDS` says otherwise, `NETSPLIT_SEED=n` runs that one |
/// | `flavor = "multi_thread"` | the test's own tokio runtime; current-thread unless said |
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    test::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an async function a command that hosts can run: `host.start(kvd)`.
///
/// The function takes nothing, the `Machine` it runs on, its arguments as `Vec<String>`, or both in this order. It may
/// return nothing, an exit code (`u8`), or a `Result` of these whose error is printed. On real hosts the test binary is
/// executed again to become it. `flavor = "multi_thread"` gives it such a tokio runtime.
#[proc_macro_attribute]
pub fn program(arguments: TokenStream, item: TokenStream) -> TokenStream {
    program::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
