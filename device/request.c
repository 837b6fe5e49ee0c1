// SPDX-License-Identifier: Apache-2.0
// Requests are read once, into memory of our own, and judged by that copy: their writer may change them at any
// time. Nothing that one says is used before it has been compared with what there is.
#include "request.h"
#include "mailbox.h"
#include "words.h"

// Parts of a message are not underway for longer than this; then its CRC is wrong for good.
#define DAMAGED_NS 10000000

enum {
	ANSWER_WORDS = gs_words_of(struct gs_answer),
	READ_WORDS = gs_words_of(struct gs_read_answer),
};

static gs_word *request_of(const struct gs_supervisor *supervisor, uint32_t monitor,
			   uint64_t sequence)
{
	return (gs_word *)(supervisor->requests + monitor * supervisor->request_share +
			   sequence % GS_REQUEST_DEPTH * GS_REQUEST_SIZE);
}

static struct gs_monitor_state *state_of(const struct gs_supervisor *supervisor, uint32_t monitor)
{
	return (struct gs_monitor_state *)(supervisor->results +
					   monitor * supervisor->result_share);
}

static uint64_t answer_of(const struct gs_supervisor *supervisor, uint32_t monitor,
			  uint64_t sequence)
{
	return (uint64_t)(state_of(supervisor, monitor) + 1) +
	       sequence % GS_REQUEST_DEPTH * supervisor->answer_stride;
}

static uint32_t state_crc(const struct gs_crc32c *crc32c, const struct gs_monitor_state *state)
{
	enum { WORDS = gs_words_of(struct gs_monitor_state) };

	return gs_crc_sealed(crc32c, GS_CRC32C_START, (const gs_word *)state, WORDS, WORDS - 1);
}

static void seal_state(const struct gs_crc32c *crc32c, struct gs_monitor_state *state)
{
	gs_word *last = (gs_word *)state + gs_words_of(struct gs_monitor_state) - 1;

	gs_put(last, (uint64_t)state_crc(crc32c, state) << 32);
	gs_order();
}

void gs_requests_begin(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c)
{
	for (uint32_t i = 0; i < supervisor->monitor_count; i++) {
		struct gs_monitor_state *state = state_of(supervisor, i);
		struct gs_slot *slot = &supervisor->slots[i];

		*slot = (struct gs_slot){};
		if (state->crc == state_crc(crc32c, state))
			slot->last = state->last;
		else
			*state = (struct gs_monitor_state){};
		seal_state(crc32c, state);
	}
	supervisor->turn = 0;
}

// The CRC of an answer's words; those from READ_WORDS on lie in the mailbox already.
static uint32_t answer_crc(const struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
			   const gs_word *words, uint32_t count, const gs_word *more,
			   uint32_t more_count)
{
	uint32_t crc = ~supervisor->seed;

	for (uint32_t i = 0; i < count; i++)
		crc = gs_crc32c_word(crc32c, crc, i == 1 ? (uint32_t)words[i] : words[i]);
	for (uint32_t i = 0; i < more_count; i++)
		crc = gs_crc32c_word(crc32c, crc, gs_get(more + i));
	return gs_crc32c_finish(crc);
}

// Sends an answer of which @words are given, and @more_count follow in place. The request is done with.
static void answer(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		   uint32_t monitor, struct gs_answer *head, uint32_t count, uint32_t more_count)
{
	const gs_word *words = (const gs_word *)head;
	struct gs_slot *slot = &supervisor->slots[monitor];
	struct gs_monitor_state *state = state_of(supervisor, monitor);
	gs_word *to = (gs_word *)answer_of(supervisor, monitor, slot->last + 1);

	head->sequence = slot->last + 1;
	head->size = (count + more_count) * 8;
	head->monitor = monitor;
	head->beats = ((const struct gs_mailbox_heartbeat *)supervisor->heartbeat)->counter;
	head->crc = answer_crc(supervisor, crc32c, words, count, to + count, more_count);
	gs_put(to, 0);
	gs_order();
	for (uint32_t i = 1; i < count; i++)
		gs_put(to + i, words[i]);
	gs_order();
	gs_put(to, words[0]);

	slot->last++;
	slot->damaged_ns = 0;
	state->last = slot->last;
	if (head->status)
		state->refused++;
	else
		state->answered++;
	seal_state(crc32c, state);
}

static void refuse(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		   uint32_t monitor, const struct gs_request *request, uint32_t status,
		   uint64_t now_ns)
{
	struct gs_answer head = {
		.status = status,
		.seen_ns = now_ns,
		.answered_ns = now_ns,
	};

	if (request) {
		head.kind = request->kind;
		head.nonce = request->nonce;
	}
	answer(supervisor, crc32c, monitor, &head, ANSWER_WORDS, 0);
}

static struct gs_answer accepted(const struct gs_request *request, uint64_t now_ns)
{
	return (struct gs_answer){
		.kind = request->kind,
		.nonce = request->nonce,
		.seen_ns = now_ns,
		.answered_ns = now_ns,
	};
}

static void answer_ping(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
			uint32_t monitor, const struct gs_request *request, uint64_t now_ns)
{
	const struct gs_mailbox_heartbeat *beat =
		(const struct gs_mailbox_heartbeat *)supervisor->heartbeat;
	struct gs_ping_answer pong = {
		.answer = accepted(request, now_ns),
		.start_ns = beat->start_ns,
		.launched = beat->launched,
		.stalled = beat->stalled,
	};

	answer(supervisor, crc32c, monitor, &pong.answer, gs_words_of(struct gs_ping_answer), 0);
}

// @return enum gs_request_status
static uint32_t kick(struct gs_supervisor *supervisor, const struct gs_run_request *request)
{
	if (request->detector >= GS_MAILBOX_DETECTORS)
		return GS_STATUS_ABSENT;

	uint64_t address = gs_get(&supervisor->controls[request->detector]);
	struct gs_control *control = (struct gs_control *)address;

	if (!address || (request->generation && request->generation != control->writer.generation))
		return GS_STATUS_ABSENT;
	gs_put(&control->kick, ++supervisor->kicks);
	return GS_STATUS_OK;
}

static void answer_run(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		       uint32_t monitor, const struct gs_run_request *request, uint64_t now_ns)
{
	struct gs_run_answer started = { .answer = accepted(&request->request, now_ns) };
	uint32_t status = kick(supervisor, request);

	started.answer.status = status;
	started.kick = supervisor->kicks;
	answer(supervisor, crc32c, monitor, &started.answer,
	       status ? ANSWER_WORDS : gs_words_of(struct gs_run_answer), 0);
}

// @return enum gs_request_status
static uint32_t set_param(const struct gs_supervisor *supervisor,
			  const struct gs_param_request *request, struct gs_param_answer *ret)
{
	if (request->flags & ~(uint32_t)GS_PARAM_F_SET)
		return GS_STATUS_INVALID;
	if (request->detector >= GS_MAILBOX_DETECTORS)
		return GS_STATUS_ABSENT;

	uint64_t address = gs_get(&supervisor->controls[request->detector]);
	const struct gs_control *control = (const struct gs_control *)address;

	if (!address || request->generation != control->writer.generation ||
	    request->param >= control->param_count || request->param >= GS_CONTROL_PARAMS)
		return GS_STATUS_ABSENT;

	uint64_t *slot = (uint64_t *)control->slots + control->params[request->param];

	ret->before = gs_get(slot);
	if (request->flags & GS_PARAM_F_SET)
		gs_put(slot, request->value);
	ret->value = gs_get(slot);
	return GS_STATUS_OK;
}

static void answer_param(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
			 uint32_t monitor, const struct gs_param_request *request, uint64_t now_ns)
{
	struct gs_param_answer is = { .answer = accepted(&request->request, now_ns) };
	uint32_t status = set_param(supervisor, request, &is);

	is.answer.status = status;
	answer(supervisor, crc32c, monitor, &is.answer,
	       status ? ANSWER_WORDS : gs_words_of(struct gs_param_answer), 0);
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t touched_pages(uint64_t address, uint64_t size)
{
	return (address % GS_READ_PAGE + size + GS_READ_PAGE - 1) / GS_READ_PAGE;
}

// What of the wanted range is executed: whole units, as many as there is room for. 0: nothing.
static uint64_t clamp(const struct gs_supervisor *supervisor, uint64_t begin, uint64_t wanted,
		      uint64_t room)
{
	uint64_t descriptors = supervisor->answer_stride - sizeof(struct gs_read_answer);
	uint64_t size = min(wanted, room);
	// A range of N pages touches N + 1.
	uint64_t most = (descriptors / sizeof(struct gs_read_page) - 1) * GS_READ_PAGE;

	// To the end of the address space, and no further.
	if (begin && size > -begin)
		size = -begin;
	return min(size, most) & ~(uint64_t)(GS_READ_UNIT - 1);
}

// Where the data of a request goes, and how much it is to be; false if it cannot be.
static bool place(const struct gs_supervisor *supervisor, uint32_t monitor,
		  const struct gs_read_request *request, struct gs_slot *slot)
{
	uint64_t entry = answer_of(supervisor, monitor, slot->last + 1);
	uint64_t end = entry + supervisor->answer_stride;
	uint64_t begin = request->address & ~(uint64_t)(GS_READ_UNIT - 1);
	uint64_t extra = request->address - begin, wanted = request->length, room;

	if (request->space > GS_READ_VIRTUAL || request->flags & ~GS_READ_F_VERIFY || !wanted)
		return false;
	wanted = min(wanted, UINT64_MAX - 2 * GS_READ_UNIT) + extra + GS_READ_UNIT - 1;
	if (request->window == GS_READ_INLINE) {
		room = GS_READ_INLINE_MAX;
	} else {
		if (request->window % GS_READ_UNIT || request->window >= supervisor->window_share)
			return false;
		room = supervisor->window_share - request->window;
	}
	slot->address = begin;
	slot->length = clamp(supervisor, begin, wanted, room);
	slot->page_count = (uint32_t)touched_pages(begin, slot->length);
	slot->to = supervisor->windows + monitor * supervisor->window_share + request->window;
	if (request->window == GS_READ_INLINE) {
		uint64_t head = sizeof(struct gs_read_answer) +
				slot->page_count * sizeof(struct gs_read_page);

		slot->to =
			entry + ((head + GS_MAILBOX_SLOT - 1) & ~(uint64_t)(GS_MAILBOX_SLOT - 1));
		return slot->length && slot->to + slot->length <= end;
	}
	return slot->length;
}

static void begin_read(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		       uint32_t monitor, const struct gs_read_request *request, uint64_t now_ns)
{
	struct gs_slot *slot = &supervisor->slots[monitor];

	if (!place(supervisor, monitor, request, slot)) {
		refuse(supervisor, crc32c, monitor, &request->request, GS_STATUS_INVALID, now_ns);
		return;
	}
	slot->nonce = request->request.nonce;
	slot->seen_ns = now_ns;
	slot->space = request->space;
	slot->flags = request->flags;
	slot->done = 0;
	slot->reading = 1;
	// Who still looks at the old answer there sees that it goes.
	gs_put((gs_word *)answer_of(supervisor, monitor, slot->last + 1), 0);
	gs_order();
}

static void end_read(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		     uint32_t monitor, uint64_t now_ns)
{
	struct gs_slot *slot = &supervisor->slots[monitor];
	uint64_t entry = answer_of(supervisor, monitor, slot->last + 1);
	const gs_word *pages = (const gs_word *)(entry + sizeof(struct gs_read_answer));
	struct gs_read_answer read = {
		.answer = {
			.kind = GS_REQUEST_READ,
			.nonce = slot->nonce,
			.seen_ns = slot->seen_ns,
			.answered_ns = now_ns,
		},
		.address = slot->address,
		.length = slot->length,
		.data = slot->to - supervisor->mailbox,
		.page_count = slot->page_count,
	};

	for (uint32_t i = 0; i < slot->page_count; i++)
		read.unreadable += !(gs_get(pages + i) >> 32 & GS_PAGE_VALID);
	slot->reading = 0;
	answer(supervisor, crc32c, monitor, &read.answer, READ_WORDS, slot->page_count);
}

static void execute(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		    uint32_t monitor, const union gs_request_message *message, uint64_t now_ns)
{
	const struct gs_request *request = &message->head;
	uint32_t size = request->size;

	if (request->monitor != monitor)
		refuse(supervisor, crc32c, monitor, request, GS_STATUS_FOREIGN, now_ns);
	else if (request->kind == GS_REQUEST_PING && size == sizeof(struct gs_request))
		answer_ping(supervisor, crc32c, monitor, request, now_ns);
	else if (request->kind == GS_REQUEST_READ && size == sizeof(struct gs_read_request))
		begin_read(supervisor, crc32c, monitor, &message->read, now_ns);
	else if (request->kind == GS_REQUEST_RUN && size == sizeof(struct gs_run_request))
		answer_run(supervisor, crc32c, monitor, &message->run, now_ns);
	else if (request->kind == GS_REQUEST_PARAM && size == sizeof(struct gs_param_request))
		answer_param(supervisor, crc32c, monitor, &message->param, now_ns);
	else
		refuse(supervisor, crc32c, monitor, request,
		       request->kind >= GS_REQUEST_PING && request->kind <= GS_REQUEST_PARAM
			       ? GS_STATUS_INVALID
			       : GS_STATUS_UNKNOWN,
		       now_ns);
}

// The next request of a monitor, as it is now: true if it is whole.
static bool take(const struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		 uint32_t monitor, union gs_request_message *ret)
{
	uint64_t *words = ret->words;
	uint64_t sequence = supervisor->slots[monitor].last + 1;
	const gs_word *from = request_of(supervisor, monitor, sequence);

	words[0] = gs_get(from);
	words[1] = gs_get(from + 1);

	uint32_t size = (uint32_t)words[1];

	if (words[0] != sequence || size % 8 || size < sizeof(struct gs_request) ||
	    size > GS_REQUEST_SIZE)
		return false;
	for (uint32_t i = 2; i < size / 8; i++)
		words[i] = gs_get(from + i);
	return gs_crc_sealed(crc32c, supervisor->seed, words, size / 8, 1) == words[1] >> 32;
}

// @first: what the first word of the next request was.
static bool look(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c, uint32_t monitor,
		 uint64_t first, uint64_t now_ns)
{
	struct gs_slot *slot = &supervisor->slots[monitor];
	if (first != slot->last + 1) {
		// Free, or the one that was there before.
		if (first && first != slot->last + 1 - GS_REQUEST_DEPTH && first != slot->ignored) {
			struct gs_monitor_state *state = state_of(supervisor, monitor);

			slot->ignored = first;
			state->ignored++;
			seal_state(crc32c, state);
		}
		return false;
	}

	union gs_request_message message = {};

	gs_order();
	if (take(supervisor, crc32c, monitor, &message)) {
		slot->damaged_ns = 0;
		execute(supervisor, crc32c, monitor, &message, now_ns);
	} else if (!slot->damaged_ns) {
		slot->damaged_ns = now_ns ? now_ns : 1;
	} else if (now_ns - slot->damaged_ns > DAMAGED_NS) {
		refuse(supervisor, crc32c, monitor, 0, GS_STATUS_DAMAGED, now_ns);
	}
	return true;
}

static void next_piece(struct gs_supervisor *supervisor, uint32_t monitor, struct gs_piece *ret)
{
	struct gs_slot *slot = &supervisor->slots[monitor];
	uint64_t at = slot->address + slot->done, size = slot->length - slot->done;
	uint64_t page = touched_pages(slot->address, slot->done + 1) - 1;

	// Pieces meet at borders of pages.
	if (size > GS_PIECE_SIZE)
		size = GS_PIECE_SIZE - at % GS_READ_PAGE;
	*ret = (struct gs_piece){
		.space = slot->space,
		.flags = slot->flags,
		.address = at,
		.size = size,
		.to = slot->to + slot->done,
		.pages = answer_of(supervisor, monitor, slot->last + 1) +
			 sizeof(struct gs_read_answer) + page * sizeof(struct gs_read_page),
	};
	slot->done += size;
}

bool gs_requests_turn(struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		      uint64_t now_ns, struct gs_piece *piece_ret)
{
	uint32_t count = supervisor->monitor_count;
	uint64_t first[GS_MAILBOX_MONITORS];
	bool busy = false;

	piece_ret->size = 0;
	if (count > GS_MAILBOX_MONITORS)
		count = GS_MAILBOX_MONITORS;
	// All at once: these loads are in flight together.
	for (uint32_t i = 0; i < GS_MAILBOX_MONITORS; i++)
		first[i] =
			i < count && !supervisor->slots[i].reading
				? gs_get(request_of(supervisor, i, supervisor->slots[i].last + 1))
				: 0;
	for (uint32_t i = 0; i < count; i++) {
		if (!supervisor->slots[i].reading)
			busy |= look(supervisor, crc32c, i, first[i], now_ns);
	}
	// A piece of each in turn: nobody's large request holds up the others.
	for (uint32_t i = 1; i <= count; i++) {
		uint32_t monitor = (uint32_t)((supervisor->turn + i) % count);
		struct gs_slot *slot = &supervisor->slots[monitor];

		if (!slot->reading)
			continue;
		busy = true;
		if (slot->done == slot->length) {
			end_read(supervisor, crc32c, monitor, now_ns);
			continue;
		}
		supervisor->turn = monitor;
		next_piece(supervisor, monitor, piece_ret);
		break;
	}
	return busy;
}
