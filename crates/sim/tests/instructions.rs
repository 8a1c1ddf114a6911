//! What reaches the kernel by an instruction rather than by a function of ours: the C library's own calls are such.
#![expect(unsafe_code, reason = "C functions")]
#![expect(clippy::print_stdout, reason = "a program's own output")]

use std::ffi::{CStr, CString};
use std::io::Read;

use netsplit_sim::{Config, End, Exit, Host, HostSpec, Spawn};

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

/// Makes a system call without arguments by an instruction.
unsafe fn raw(number: i64) -> i64 {
    let result: i64;
    // SAFETY: the caller's; a call changes these registers and no others.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number => result, out("rcx") _, out("r11") _);
    }
    result
}

#[test]
fn the_c_librarys_own_calls_are_on_the_hosts_files() {
    let report = netsplit_sim::run(Config { seed: 3, ..Config::default() }, || {
        let host = Host::add(&HostSpec::new("a", [10, 0, 0, 1].into(), "fd6e:7370::1".parse().unwrap()));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stream = || writer.try_clone().unwrap().into();
        let process = host.spawn(Spawn {
            name: "writer".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            cwd: "/".into(),
            stdin: stream(),
            stdout: stream(),
            stderr: stream(),
            group: None,
            main: Box::new(streams),
        });
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!((process.unwrap().exit(), said.as_str()), (Some(Exit::Code(0)), "written by stdio\n"));
    });
    assert_eq!(report.end, End::Ended(Exit::Code(0)));
    assert!(report.traps > 5, "{} calls were caught", report.traps);
    assert!(!std::path::Path::new(PATH.to_str().unwrap()).exists(), "it was written on this machine");
}
