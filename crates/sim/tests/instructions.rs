//! What reaches the kernel by an instruction rather than by a function of ours: the C library's own calls are such.
#![expect(unsafe_code, reason = "C functions")]
#![expect(clippy::print_stdout, reason = "a program's own output")]

use std::ffi::{CStr, CString};
use std::io::Read;
use std::process::Command;
use std::sync::{Arc, Mutex};

use netsplit_sim::{Config, End, Exit, Host, HostSpec, Report, Spawn};

const PATH: &CStr = c"/tmp/netsplit-written-by-stdio";

/// Writes a file by C streams, and reads it by them and by std.
fn streams() -> i32 {
    // SAFETY: the stream is there, is used by this thread alone, and closed once.
    let read = unsafe {
        let stream = libc::fopen(PATH.as_ptr(), c"w".as_ptr());
        assert!(!stream.is_null(), "{}", std::io::Error::last_os_error());
        let text = CString::new("written by stdio\n").unwrap();
        assert!(libc::fputs(text.as_ptr(), stream) >= 0);
        assert_eq!(libc::fclose(stream), 0);
        let stream = libc::fopen(PATH.as_ptr(), c"r".as_ptr());
        let mut line = [0; 100];
        assert!(!libc::fgets(line.as_mut_ptr(), 100, stream).is_null());
        assert_eq!(libc::fclose(stream), 0);
        CStr::from_ptr(line.as_ptr()).to_str().unwrap().to_owned()
    };
    assert_eq!(read, std::fs::read_to_string(PATH.to_str().unwrap()).unwrap());
    print!("{read}");
    // A number as an instruction asks for it is the one that functions tell.
    // SAFETY: the call has no arguments.
    assert_eq!(unsafe { raw(libc::SYS_getpid) }, i64::from(std::process::id()));
    0
}

type Clock = unsafe extern "C" fn(i32, *mut libc::timespec) -> i32;

/// No function of ours: the kernel's own page has one for clocks, which whoever reads its symbols can call.
fn ask_the_vdso() -> i32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the object is there in every process, and its function has this type.
    unsafe {
        let vdso = libc::dlopen(c"linux-vdso.so.1".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        let address = libc::dlsym(vdso, c"__vdso_clock_gettime".as_ptr());
        assert!(!address.is_null(), "the kernel's page has no clock");
        std::mem::transmute::<*mut libc::c_void, Clock>(address)(libc::CLOCK_MONOTONIC, &raw mut time)
    }
}

/// Makes a system call without arguments by an instruction.
unsafe fn raw(number: i64) -> i64 {
    let result: i64;
    // SAFETY: the caller's; a call changes these registers and no others.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number => result, out("rcx") _, out("r11") _);
    }
    result
}

/// Runs a program on a host; what it printed, and how it all went.
fn run_program(main: fn() -> i32) -> (String, Report) {
    let said = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&said);
    let report = netsplit_sim::run(Config { seed: 3, ..Config::default() }, move || {
        let host = Host::add(&HostSpec::new("a", [10, 0, 0, 1].into(), "fd6e:7370::1".parse().unwrap()));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stream = || writer.try_clone().unwrap().into();
        let streams = [stream(), stream(), stream()];
        let process = host.spawn(Spawn::new("program", streams, main));
        drop(writer);
        reader.read_to_string(&mut told.lock().unwrap()).unwrap();
        assert_eq!(process.unwrap().exit(), Some(Exit::Code(0)), "{}", told.lock().unwrap());
    });
    assert_eq!(report.end, End::Ended(Exit::Code(0)));
    let said = said.lock().unwrap().clone();
    (said, report)
}

/// Set for a process that is to run its case.
const RUNS: &str = "RUNS";

/// What the test of this name prints on standard error in a process of its own, where there is one simulation.
fn told_by(test: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([test, "--exact", "--nocapture"]).env(RUNS, test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn the_c_librarys_own_calls_are_on_the_hosts_files() {
    const NAME: &str = "the_c_librarys_own_calls_are_on_the_hosts_files";
    if std::env::var_os(RUNS).is_none() {
        told_by(NAME);
        return;
    }
    let (said, report) = run_program(streams);
    assert_eq!(said, "written by stdio\n");
    assert!(report.traps > 5, "{} calls were caught", report.traps);
    assert!(!std::path::Path::new(PATH.to_str().unwrap()).exists(), "it was written on this machine");
}

#[test]
fn a_clock_of_the_kernels_page_is_told_of() {
    const NAME: &str = "a_clock_of_the_kernels_page_is_told_of";
    if std::env::var_os(RUNS).is_some() {
        run_program(ask_the_vdso);
        return;
    }
    let text = told_by(NAME);
    assert!(text.contains("vDSO") && text.contains("ask_the_vdso"), "{text}");
}
