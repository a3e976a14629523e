//! What the kernel does about the system calls of a captured command: a program of its own small machine (BPF), which can look
//! at numbers, and at nothing that a pointer leads to.
//!
//! connect(2) is asked about. `io_uring_setup` does not exist for the command, since a ring connects without a system call.
//! What is sent before there is a connection (TCP fast open) is refused as where that is switched off, after which programs
//! connect. All else is let through, as is all of other calling conventions: 32-bit programs, x32.
//!
//! Where roots are wanted, opening a file just to read it is asked about as well. openat2(2) is not: its flags are behind a
//! pointer, so that it would have to be asked about whatever it is for, and no library opens roots by it.

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
/// Where it has the lower half of the second argument, which for open(2) is the flags.
const SECOND: u32 = 24;
/// Where it has that of the third, which for sendmsg(2) and openat(2) is.
const THIRD: u32 = 32;
/// Where it has that of the fourth, which for sendto(2) and sendmmsg(2) is.
const FOURTH: u32 = 40;

/// What the kernel is to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// connect(2).
    Connecting,
    /// That, and opening files to read them.
    OpeningToo,
}

/// How many steps there are in any case.
const STEPS: usize = 17;
/// How many more there are where opening is asked about; they stand before [`CONNECT`].
const OPENING: usize = 6;
/// The step that compares the number with that of connect(2).
const CONNECT: usize = 4;
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

/// The number of open(2), which newer machines do not have: no call has the one that is there then.
#[cfg(target_arch = "x86_64")]
const OPEN: u32 = number(libc::SYS_open);
/// The number of open(2), which newer machines do not have: no call has the one that is there then.
#[cfg(not(target_arch = "x86_64"))]
const OPEN: u32 = u32::MAX;

/// What programs say of large files where it changes nothing; the C library calls it 0 there ([fcntl.h], [fcntl.h of ARM]).
///
/// [fcntl.h]: https://github.com/torvalds/linux/blob/master/include/uapi/asm-generic/fcntl.h
/// [fcntl.h of ARM]: https://github.com/torvalds/linux/blob/master/arch/arm64/include/uapi/asm/fcntl.h
const LARGE_FILE: i32 = if cfg!(target_arch = "aarch64") {
    0o40_0000
} else {
    0o10_0000
};

/// The flags of an open that amb is asked about: any other means more than to read a file, or to be careful with it.
pub(super) const READING: i32 = libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK | LARGE_FILE;

/// Whether there is a filter for this machine's calling convention.
pub fn is_for_this_machine() -> bool {
    NATIVE != 0
}

/// Whether this is the number of a call that opens a file by a descriptor and a path.
pub(super) fn is_openat(call: i32) -> bool {
    call.cast_unsigned() == number(libc::SYS_openat)
}

/// Whether this is the number of a call that opens a file by a path.
pub(super) fn is_open(call: i32) -> bool {
    call.cast_unsigned() == OPEN
}

/// A program, on the stack, since it is made between fork and exec.
pub(super) struct Program {
    /// The steps, and room behind them.
    steps: [sock_filter; STEPS + OPENING],
    /// How many there are.
    length: usize,
}

impl Program {
    /// Nothing but room.
    const EMPTY: Self = Self {
        steps: [end(libc::SECCOMP_RET_ALLOW); STEPS + OPENING],
        length: 0,
    };

    /// The steps.
    pub(super) fn steps(&mut self) -> &mut [sock_filter] {
        &mut self.steps[..self.length]
    }

    /// Adds steps.
    fn add(mut self, steps: &[sock_filter]) -> Self {
        let end = self.length + steps.len();
        self.steps[self.length..end].copy_from_slice(steps);
        self.length = end;
        self
    }
}

/// The program that has this asked.
pub(super) fn program(asks: Asks) -> Program {
    let early = libc::MSG_FASTOPEN.cast_unsigned();
    let more = match asks {
        Asks::Connecting => 0,
        Asks::OpeningToo => OPENING,
    };
    let begun = Program::EMPTY.add(&[
        load(CONVENTION),
        test(1, libc::BPF_JEQ, NATIVE, 2, ALLOW + more),
        load(NUMBER),
        test(3, libc::BPF_JGE, X32, ALLOW + more, 4),
    ]);
    let begun = match asks {
        Asks::Connecting => begun,
        Asks::OpeningToo => begun.add(&opening()),
    };
    begun.add(&[
        test(CONNECT, libc::BPF_JEQ, number(libc::SYS_connect), ASK, 5),
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
    ])
}

/// The steps about opening, as numbers 4 to 9.
fn opening() -> [sock_filter; OPENING] {
    let (allow, ask) = (ALLOW + OPENING, ASK + OPENING);
    let more = (!READING).cast_unsigned();
    [
        test(4, libc::BPF_JEQ, number(libc::SYS_openat), 8, 5),
        test(5, libc::BPF_JEQ, OPEN, 6, CONNECT + OPENING),
        load(SECOND),
        test(7, libc::BPF_JSET, more, allow, ask),
        load(THIRD),
        test(9, libc::BPF_JSET, more, allow, ask),
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

    /// What the program that has this asked answers to these data, run as the kernel runs it.
    fn answer(asks: Asks, convention: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let mut program = program(asks);
        let program = program.steps();
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

    /// What it is either way for a call of this machine's own.
    fn native(call: libc::c_long, arguments: [u64; 6]) -> u32 {
        let [answer, same] =
            [Asks::Connecting, Asks::OpeningToo].map(|asks| answer(asks, NATIVE, number(call), arguments));
        assert_eq!(answer, same, "{call}, where roots are wanted");
        answer
    }

    #[test]
    fn amb_is_asked_about_connect_alone() {
        assert_eq!(
            native(libc::SYS_connect, [3, 4, 16, 0, 0, 0]),
            libc::SECCOMP_RET_USER_NOTIF
        );
        for call in [
            libc::SYS_read,
            libc::SYS_bind,
            libc::SYS_accept4,
            libc::SYS_socket,
            libc::SYS_openat2,
        ] {
            assert_eq!(native(call, [u64::MAX; 6]), libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn where_roots_are_wanted_amb_is_asked_about_opening_to_read() {
        let reads = [
            0,
            libc::O_CLOEXEC,
            libc::O_NONBLOCK | libc::O_NOCTTY,
            LARGE_FILE | libc::O_CLOEXEC,
        ];
        let others = [
            libc::O_WRONLY,
            libc::O_RDWR | libc::O_CLOEXEC,
            libc::O_CREAT,
            libc::O_DIRECTORY | libc::O_CLOEXEC,
            libc::O_NOFOLLOW,
            libc::O_PATH,
            libc::O_TMPFILE,
            libc::O_TRUNC,
            libc::O_DIRECT,
            libc::O_NOATIME,
            libc::O_ASYNC,
        ];
        let mut calls = vec![(number(libc::SYS_openat), 2)];
        if OPEN != u32::MAX {
            calls.push((OPEN, 1));
        }
        for (call, place) in calls {
            let asked = |asks, flags: i32| {
                let mut arguments = [u64::MAX; 6];
                arguments[place] = 0xffff_ffff_0000_0000 | u64::from(flags.cast_unsigned());
                answer(asks, NATIVE, call, arguments)
            };
            for flags in reads {
                assert_eq!(
                    asked(Asks::OpeningToo, flags),
                    libc::SECCOMP_RET_USER_NOTIF,
                    "{flags:o}"
                );
            }
            for flags in others {
                assert_eq!(asked(Asks::OpeningToo, flags), libc::SECCOMP_RET_ALLOW, "{flags:o}");
            }
            for flags in reads.into_iter().chain(others) {
                assert_eq!(asked(Asks::Connecting, flags), libc::SECCOMP_RET_ALLOW, "{flags:o}");
            }
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
        for asks in [Asks::Connecting, Asks::OpeningToo] {
            for call in [number(libc::SYS_connect), number(libc::SYS_openat)] {
                assert_eq!(answer(asks, 0x4000_0003, call, [0; 6]), libc::SECCOMP_RET_ALLOW);
                assert_eq!(answer(asks, NATIVE, call | X32, [0; 6]), libc::SECCOMP_RET_ALLOW);
            }
        }
    }
}
