//! A test whose body panics: `#[should_panic]` sees it.

use netsplit::Reason;
use netsplit::prelude::*;

#[netsplit::test(hosts = 1)]
#[should_panic(expected = "the disk is on fire")]
async fn a_panic_that_is_wanted(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("true").await?;
    panic!("the disk is on fire");
}

#[netsplit::test(hosts = 1)]
#[should_panic(expected = "`false` on a exited 1")]
async fn an_unwrapped_error_is_a_panic(bed: Testbed) {
    bed.host("a").unwrap().run("false").await.unwrap();
}

#[netsplit::test(hosts = 1)]
#[should_panic(expected = "there is no printer  ")]
async fn an_error_that_is_returned_is_a_panic_where_one_is_wanted(_bed: Testbed) -> netsplit::Result {
    Err(netsplit::Error::new(Reason::Expect, "there is no printer"))
}
