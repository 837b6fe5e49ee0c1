/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and answers of one monitor (docs/mailbox.md, "Requests"), with a network and a bus that deliver words in any
 * order. Checked: no request is acted on twice, none is lost, no torn message is taken for a whole one, and nobody waits for
 * ever (an invalid end state would show it).
 *
 * A message is its first word (the number) and two more, which stand for all others: its CRC is right if all three
 * belong together. What is written goes through a buffer from which any word may come out next, whoever wrote it when:
 * more disorder than RDMA on one queue pair allows, and what NVIDIA documents of a running kernel. A monitor that has
 * waited writes its request again, as it was.
 *
 * DEPTH and REQUESTS are smaller than the real ones; numbers go around the entries twice. RESENDS bounds how often a
 * request is written again. With BREAK defined, the model has an error that must be found (tests/model/run):
 * 1: the supervisor does not check the CRC; 2: it does not remember the last number; 3: the monitor does not check.
 */
#ifndef DEPTH
#define DEPTH 2
#endif
#ifndef REQUESTS
#define REQUESTS 4
#endif
#ifndef RESENDS
#define RESENDS 1
#endif
#ifndef BREAK
#define BREAK 0
#endif

#define ENTRY(n) ((n) % DEPTH)

/* Where a word goes. */
mtype = { NUMBER, FIRST, SECOND };

/* Words on their way; received in any order. */
chan to_gpu = [3 * (1 + RESENDS)] of { mtype, byte, byte };
chan to_monitor = [3] of { mtype, byte, byte };

/* The slot as the GPU sees it, and the answers as the monitor does. */
byte request_number[DEPTH], request_first[DEPTH], request_second[DEPTH];
byte answer_number[DEPTH], answer_first[DEPTH], answer_second[DEPTH];

byte acted[REQUESTS + 1], damaged[REQUESTS + 1];

/* One word of what is under way arrives. */
proctype network()
{
	mtype what;
	byte entry, value;

end:
	do
	:: to_gpu ?? NUMBER, entry, value -> request_number[entry] = value
	:: to_gpu ?? FIRST, entry, value -> request_first[entry] = value
	:: to_gpu ?? SECOND, entry, value -> request_second[entry] = value
	:: to_monitor ?? NUMBER, entry, value -> answer_number[entry] = value
	:: to_monitor ?? FIRST, entry, value -> answer_first[entry] = value
	:: to_monitor ?? SECOND, entry, value -> answer_second[entry] = value
	od
}

proctype supervisor()
{
	byte last = 0, next, first, second;

end:
	do
	/* Otherwise it is free, or the one before: nothing to do. */
	:: last < REQUESTS && request_number[ENTRY(last + 1)] == last + 1 ->
		next = last + 1;
		/* It is copied once; the copy is judged. */
		first = request_first[ENTRY(next)];
		second = request_second[ENTRY(next)];
		if
		:: BREAK == 1 || (first == next && second == next) ->
			acted[next]++;
			assert(first == next && second == next);
			assert(acted[next] == 1)
		/* Not whole: looked at again, or given up after 10 ms, when something of it may still be under way. */
		:: BREAK != 1 && !(first == next && second == next) -> goto end
		:: BREAK != 1 && !(first == next && second == next) -> damaged[next]++
		fi;
		/* The old answer goes first, then comes the new one. */
		to_monitor ! NUMBER, ENTRY(next), 0;
		to_monitor ! FIRST, ENTRY(next), next;
		to_monitor ! SECOND, ENTRY(next), next;
		/* A fence keeps the number behind the rest here, but not on its way. */
		to_monitor ! NUMBER, ENTRY(next), next;
		if
		:: BREAK == 2
		:: BREAK != 2 -> last = next
		fi
	od
}

inline send(n)
{
	to_gpu ! FIRST, ENTRY(n), n;
	to_gpu ! SECOND, ENTRY(n), n;
	to_gpu ! NUMBER, ENTRY(n), n
}

/* Up to DEPTH requests are under way; answers come in order. */
proctype monitor()
{
	byte sent = 0, next = 1, resent = 0, first = 0, second = 0;
	bool early = false;

	do
	:: sent < REQUESTS && sent + 1 - next < DEPTH ->
		sent++;
		send(sent)
	/* One read takes the whole answer, its words in any order: the first one ahead of the number, or behind it. */
	:: d_step { next <= sent && !early ->
		first = answer_first[ENTRY(next)];
		early = true }
	:: next <= sent && answer_number[ENTRY(next)] == next ->
		if
		:: !early -> first = answer_first[ENTRY(next)]
		:: early -> early = false
		fi;
		second = answer_second[ENTRY(next)];
		if
		:: BREAK == 3 || (first == next && second == next) ->
			assert(first == next && second == next);
			/* It was done, or it was refused as damaged; not both, and not twice. */
			assert(acted[next] + damaged[next] == 1);
			next++;
			resent = 0
		:: else
		fi;
		/* Forgotten: states that differ by these alone are the same. */
		d_step { first = 0; second = 0 }
	/* Nothing for long. */
	:: next <= sent && answer_number[ENTRY(next)] != next && resent < RESENDS ->
		resent++;
		send(next)
	:: next > REQUESTS -> break
	od
}

init {
	atomic {
		run network();
		run supervisor();
		run monitor()
	}
}
