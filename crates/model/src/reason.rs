//! The stable names of everything that can go wrong. `netsplit explain NAME` has a page for each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Verdict;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $verdict:ident),* $(,)?) => {
        /// Why a test did not pass, or why nothing was run. The text form is stable and searchable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum Reason {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)*
        }

        impl Reason {
            /// All of them, in the order of their pages.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The verdict of a test that ended for this reason; what stops before any test counts as `failed` here.
            pub fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)* }
            }
        }
    };
}

reasons! {
    // What the system under test did.
    /// A command ended with another code than was expected.
    UnexpectedExit "unexpected-exit" Failed,
    /// What a command wrote differs from what was expected.
    ExpectStdout "expect-stdout" Failed,
    /// What a command wrote to stderr differs from what was expected.
    ExpectStderr "expect-stderr" Failed,
    /// A value or file differs from what was expected.
    Expect "expect" Failed,
    /// No line matched in time.
    WaitTimedOut "wait-timed-out" Failed,
    /// The process ended, or its output did, before a line matched.
    EndedBeforeLine "ended-before-line" Failed,
    /// A line came that must not come.
    ForbiddenLine "forbidden-line" Failed,
    /// A command was still running at its deadline.
    CommandTimedOut "command-timed-out" Failed,
    /// A file exists but cannot be executed.
    CouldNotStart "could-not-start" Failed,
    /// A template names a variable that nobody set.
    UnsetVariable "unset-variable" Failed,
    /// A connection into a host was refused.
    ConnectionRefused "connection-refused" Failed,
    /// The test used a host that it had killed.
    HostDown "host-down" Failed,
    /// The test spoke to a process that had ended.
    ProcessEnded "process-ended" Failed,
    /// A command was cancelled by the test itself.
    Cancelled "cancelled" Failed,
    /// A whole test was still running at its deadline.
    TestTimedOut "test-timed-out" Failed,
    /// The test's code panicked or returned an error of its own.
    TestError "test-error" Failed,
    /// The process that simulated a seed ended before the test had.
    SeedCrashed "seed-crashed" Failed,
    /// In a simulation nothing can ever happen again, and the test has not ended.
    Deadlock "deadlock" Failed,
    /// In a simulation more is under way than could ever be done.
    Flood "flood" Failed,
    /// Two processes that simulated one seed did not do the same.
    Diverged "diverged" Failed,

    // Files.
    /// A file or folder to copy is not there.
    NoSuchFile "no-such-file" Failed,
    /// A file changed while it was copied.
    FileChanged "file-changed" Failed,
    /// A host could not keep or give a file.
    FileRefused "file-refused" Failed,
    /// A host has no space left.
    HostDiskFull "host-disk-full" Failed,

    // The testbed.
    /// A bare name that a host's PATH does not have.
    NoSuchProgram "no-such-program" Infra,
    /// A `build` command failed.
    BuildFailed "build-failed" Infra,
    /// A host or its agent was lost, and not by the test.
    HostLost "host-lost" Infra,
    /// A host did not come up.
    HostNotReady "host-not-ready" Infra,
    /// User namespaces are forbidden, or give no rights.
    UsernsRestricted "userns-restricted" Infra,
    /// The running program cannot be its own agent.
    NoAgent "no-agent" Infra,
    /// The testbed's own processes ended or broke.
    TestbedLost "testbed-lost" Infra,
    /// No space for evidence.
    DiskFull "disk-full" Infra,
    /// Simulated hosts were asked for in real time.
    NotSimulated "not-simulated" Infra,
    /// Another provider was asked for than there is.
    UnknownProvider "unknown-provider" Infra,
    /// The network between hosts was later than the test allows.
    FabricLate "fabric-late" Infra,
    /// The network did not do what it was asked.
    FaultRefused "fault-refused" Infra,

    // Neither.
    /// The run was interrupted.
    Interrupted "interrupted" Unknown,
    /// The runner ended without a verdict.
    Unfinished "unfinished" Unknown,
    /// An earlier nested test failed.
    EarlierFailed "earlier-failed" Skipped,
    /// The provider cannot do what the test needs.
    MissingCapability "missing-capability" Skipped,
    /// A capability that `require` names is missing.
    RequiredCapability "required-capability" Failed,

    // Mistakes in what the user wrote; nothing is run.
    /// The file is no TOML.
    Syntax "syntax" Failed,
    /// A key or verb nobody knows.
    UnknownKey "unknown-key" Failed,
    /// A key that must be there is not.
    MissingKey "missing-key" Failed,
    /// A value of another kind or range than is due.
    BadValue "bad-value" Failed,
    /// No host, role or captured name is called that.
    UnknownHost "unknown-host" Failed,
    /// No variable is called that.
    UnknownVariable "unknown-variable" Failed,
    /// No command, procedure, file or test is called that.
    UnknownName "unknown-name" Failed,
    /// Two things have one name.
    DuplicateName "duplicate-name" Failed,
    /// A name that cannot be one.
    BadName "bad-name" Failed,
    /// A regular expression that is none.
    BadRegex "bad-regex" Failed,
    /// A command that needs a shell.
    ShellInCommand "shell-in-command" Failed,
    /// Steps that TOML gives to another table.
    StepsAstray "steps-astray" Failed,
    /// A step without a verb, or with two.
    OneVerb "one-verb" Failed,
    /// A long test.
    LongTest "long-test" Failed,
    /// Includes or procedures that lead back to themselves.
    Circle "circle" Failed,
    /// A fault of the network that cannot be.
    BadFault "bad-fault" Failed,
    /// A word of the language that this version does not speak yet.
    NotYet "not-yet" Failed,
    /// No run, host or scenario is called that.
    NoSuchRun "no-such-run" Failed,
    /// A setting that is wrong.
    BadSetting "bad-setting" Failed,

    // Ours.
    /// netsplit itself is at fault.
    Bug "bug" Unknown,
}

impl Reason {
    /// The reason called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(Reason::named(reason.as_str()), Some(Reason::ALL[index]));
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{reason}");
        }
    }
}
