// Messages between coordinators and agents, both ways. The first line is the message's name. What is
// read is written as a message that is read the same; what is refused says why.

#include "base/messages/json.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace koshel;
using namespace koshel::messages;

template <class Message>
void check(std::string_view text) {
  const auto read = from_json<Message>(text);
  if (!read) {
    INVARIANT(read.error().fault == Fault::Internal && read.error().context.size() > 10);
    return;
  }
  const auto written = to_json(read.value());
  const auto again = from_json<Message>(written);
  INVARIANT(again);
  INVARIANT(to_json(again.value()) == written);
}

struct Kind {
  std::string_view name;
  void (*check)(std::string_view text);
};

constexpr Kind kKinds[] = {
#define KIND(Message) \
  { #Message, check < Message> }
    KIND(LocalRound),  KIND(LocalReply),   KIND(AskRound),         KIND(AskRoundDone),
    KIND(Reserve),     KIND(ReserveReply), KIND(Prepare),          KIND(PrepareReply),
    KIND(Settle),      KIND(SettleDone),   KIND(Release),          KIND(ReadHeads),
    KIND(HeadsRead),   KIND(FindTransfer), KIND(FindTransferDone), KIND(ReadEntries),
    KIND(EntriesRead), KIND(BeginArrival), KIND(ArrivalBegun),     KIND(ReadChunk),
    KIND(Chunk),       KIND(WriteChunk),   KIND(ChunkWritten),     KIND(CleanMove),
    KIND(MoveCleaned), KIND(AgentStatus),  KIND(OpenAudit),        KIND(AuditOpened),
    KIND(RunAudit),    KIND(AuditDone),    KIND(ListAudit),        KIND(AuditListed),
    KIND(CloseAudit),  KIND(AuditClosed),
#undef KIND
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto text = fuzz::text_of(data, size);
  const auto name = fuzz::take_line(text);
  for (const auto& kind : kKinds) {
    if (kind.name == name) kind.check(text);
  }
  return 0;
}
