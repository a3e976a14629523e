//! What the kernel does about the system calls of a captured command: a program of its own small machine (BPF), which can look
//! at numbers, and at nothing that a pointer leads to.
//!
//! connect(2) is asked about. `io_uring_setup` does not exist for the command, since a ring connects without a system call.
//! What is sent before there is a connection (TCP fast open) is refused as where that is switched off, after which programs
//! connect. All else is let through, as is all of other calling conventions: 32-bit programs, x32.

use libc::sock_filter;

/// How the kernel calls the native calling convention ([audit.h]); 0 where no filter is made for it.
///
/// [audit.h]: https://github.com/torvalds/linux/blob/master/include/uapi/linux/audit.h
const NATIVE: u32 = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    0xc000_003e
} else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
    0xc000_00b7
} else {
    0
};
/// From this number on, the calls of `x86_64` are those of x32.
const X32: u32 = 0x4000_0000;

/// Where `struct seccomp_data` has the number of the call.
const NUMBER: u32 = 0;
/// Where it has the calling convention.
const CONVENTION: u32 = 4;
/// Where it has the lower half of the third argument, which for sendmsg(2) is the flags.
const THIRD: u32 = 32;
/// Where it has that of the fourth, which for sendto(2) and sendmmsg(2) is.
const FOURTH: u32 = 40;

/// How many steps there are.
const STEPS: usize = 17;
/// The step that loads the fourth argument.
const LOAD_FOURTH: usize = 9;
/// The step that loads the third.
const LOAD_THIRD: usize = 11;
/// The step that lets the call through.
const ALLOW: usize = 13;
/// The step that has amb asked.
const ASK: usize = 14;
/// The step by which there is no such call.
const ABSENT: usize = 15;
/// The step by which the socket does not do such a thing.
const REFUSE: usize = 16;

/// Whether there is a filter for this machine's calling convention.
pub fn is_for_this_machine() -> bool {
    NATIVE != 0
}

/// The program. On the stack, since it is made between fork and exec.
pub(super) fn program() -> [sock_filter; STEPS] {
    let early = libc::MSG_FASTOPEN.cast_unsigned();
    [
        load(CONVENTION),
        test(1, libc::BPF_JEQ, NATIVE, 2, ALLOW),
        load(NUMBER),
        test(3, libc::BPF_JGE, X32, ALLOW, 4),
        test(4, libc::BPF_JEQ, number(libc::SYS_connect), ASK, 5),
        test(5, libc::BPF_JEQ, number(libc::SYS_io_uring_setup), ABSENT, 6),
        test(6, libc::BPF_JEQ, number(libc::SYS_sendmsg), LOAD_THIRD, 7),
        test(7, libc::BPF_JEQ, number(libc::SYS_sendto), LOAD_FOURTH, 8),
        test(8, libc::BPF_JEQ, number(libc::SYS_sendmmsg), LOAD_FOURTH, ALLOW),
        load(FOURTH),
        test(10, libc::BPF_JSET, early, REFUSE, ALLOW),
        load(THIRD),
        test(12, libc::BPF_JSET, early, REFUSE, ALLOW),
        end(libc::SECCOMP_RET_ALLOW),
        end(libc::SECCOMP_RET_USER_NOTIF),
        end(libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        end(libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP.unsigned_abs()),
    ]
}

/// A step; codes fit into its 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "codes of BPF have 16 bits")]
const fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}

/// Loads the word that is there in the data.
const fn load(at: u32) -> sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at)
}

/// Step number `at`: compares what was loaded, and goes on with one step or the other, both behind it.
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256 steps")]
const fn test(at: usize, how: u32, with: u32, yes: usize, no: usize) -> sock_filter {
    let (yes, no) = ((yes - at - 1) as u8, (no - at - 1) as u8);
    step(libc::BPF_JMP | how | libc::BPF_K, yes, no, with)
}

/// Ends with this answer.
const fn end(answer: u32) -> sock_filter {
    step(libc::BPF_RET | libc::BPF_K, 0, 0, answer)
}

/// The number of a system call, as the data have it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of system calls are small and not negative"
)]
const fn number(call: libc::c_long) -> u32 {
    call as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers to these data, run as the kernel runs it.
    fn answer(convention: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let program = program();
        let word = |at: u32| -> u32 {
            match at {
                NUMBER => call,
                CONVENTION => convention,
                at => {
                    let argument = arguments[(at as usize - 16) / 8];
                    u32::try_from(argument & 0xffff_ffff).unwrap()
                }
            }
        };
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            let code = u32::from(step.code);
            at += 1;
            let holds = match code & 0xf7 {
                _ if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    loaded = word(step.k);
                    continue;
                }
                _ if code == libc::BPF_RET | libc::BPF_K => return step.k,
                _ if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => loaded == step.k,
                _ if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => loaded >= step.k,
                _ if code == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K => loaded & step.k != 0,
                _ => panic!("a step that the kernel may not know: {code:#x}"),
            };
            at += usize::from(if holds { step.jt } else { step.jf });
        }
    }

    /// The same for a call of this machine's own.
    fn native(call: libc::c_long, arguments: [u64; 6]) -> u32 {
        answer(NATIVE, number(call), arguments)
    }

    #[test]
    fn amb_is_asked_about_connect_alone() {
        assert_eq!(
            native(libc::SYS_connect, [3, 4, 16, 0, 0, 0]),
            libc::SECCOMP_RET_USER_NOTIF
        );
        for call in [libc::SYS_read, libc::SYS_bind, libc::SYS_accept4, libc::SYS_socket] {
            assert_eq!(native(call, [u64::MAX; 6]), libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn what_connects_in_other_ways_does_not_exist_or_is_refused() {
        let error = |number: i32| libc::SECCOMP_RET_ERRNO | number.unsigned_abs();
        assert_eq!(native(libc::SYS_io_uring_setup, [0; 6]), error(libc::ENOSYS));
        let early = u64::from(libc::MSG_FASTOPEN.cast_unsigned() | libc::MSG_NOSIGNAL.cast_unsigned());
        for (call, place) in [(libc::SYS_sendto, 3), (libc::SYS_sendmmsg, 3), (libc::SYS_sendmsg, 2)] {
            let mut arguments = [0; 6];
            assert_eq!(native(call, arguments), libc::SECCOMP_RET_ALLOW);
            arguments[place] = early;
            assert_eq!(native(call, arguments), error(libc::EOPNOTSUPP));
            let elsewhere = arguments.map(|argument| early ^ argument);
            assert_eq!(
                native(call, elsewhere),
                libc::SECCOMP_RET_ALLOW,
                "flags in other places"
            );
        }
    }

    #[test]
    fn other_calling_conventions_are_let_through() {
        let connect = number(libc::SYS_connect);
        assert_eq!(answer(0x4000_0003, connect, [0; 6]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(answer(NATIVE, connect | X32, [0; 6]), libc::SECCOMP_RET_ALLOW);
    }
}
