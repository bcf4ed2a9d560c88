// certs init / add / renew: the certificates with which coordinators and agents know each other.

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "cli/certificate_authority.hpp"
#include "cli/output.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;
using platform::TlsRole;

constexpr const char* kNext =
    "copy to each host its own NAME.pem and NAME.key, and ca.pem; ca.key goes nowhere else";
constexpr const char* kReload =
    "copy each NAME.pem to its host and send the daemon SIGHUP: it goes on without a break";

struct CertsOptions {
  std::string dir;
  std::vector<std::string> coordinators, agents;  // NAME=HOST,HOST
  std::vector<std::string> names;                 // to renew; none: all
  int days = 365;
  int ca_days = 3650;
};

Outcome<std::vector<CertificateRequest>> requests_of(const CertsOptions& options) {
  std::vector<CertificateRequest> requests;
  for (const auto& text : options.coordinators) {
    KOSHEL_TRY(auto request, parse_certificate_request(text, TlsRole::Coordinator));
    requests.push_back(std::move(request));
  }
  for (const auto& text : options.agents) {
    KOSHEL_TRY(auto request, parse_certificate_request(text, TlsRole::Agent));
    requests.push_back(std::move(request));
  }
  return requests;
}

Finished print_made(const Console& console, const CertificateAuthority& authority,
                    const std::vector<CertificateFiles>& made, const char* next) {
  if (console.is_json()) {
    json::array items;
    for (const auto& files : made) {
      items.push_back(json::object{{"name", files.name},
                                   {"cert_file", files.cert.string()},
                                   {"key_file", files.key.string()},
                                   {"until", files.until}});
    }
    print_line(json::serialize(json::object{{"ca_file", authority.cert_file().string()},
                                            {"certificates", std::move(items)}}));
    return ExitCode::Done;
  }
  Table table({{"name"}, {"until"}, {"certificate"}, {"key"}});
  for (const auto& files : made) {
    table.add({files.name, files.until, files.cert.string(), files.key.string()});
  }
  table.print();
  say(next);
  return ExitCode::Done;
}

Finished issue_all(const Console& console, const CertificateAuthority& authority,
                   const std::vector<CertificateRequest>& requests, const CertsOptions& options) {
  std::vector<CertificateFiles> made;
  for (const auto& request : requests) {
    KOSHEL_TRY(auto files, authority.issue(request, std::chrono::days(options.days)));
    made.push_back(std::move(files));
  }
  return print_made(console, authority, made, kNext);
}

Finished run_init(const Console& console, const CertsOptions& options) {
  KOSHEL_TRY(auto requests, requests_of(options));
  KOSHEL_TRY(auto authority,
             CertificateAuthority::create(options.dir, std::chrono::days(options.ca_days)));
  return issue_all(console, authority, requests, options);
}

Finished run_add(const Console& console, const CertsOptions& options) {
  KOSHEL_TRY(auto requests, requests_of(options));
  if (requests.empty()) {
    return Failure(ExitCode::Usage, "say for whom: --coordinator NAME=HOST or --agent NAME=HOST");
  }
  KOSHEL_TRY(auto authority, CertificateAuthority::open(options.dir));
  return issue_all(console, authority, requests, options);
}

Finished run_renew(const Console& console, const CertsOptions& options) {
  KOSHEL_TRY(auto authority, CertificateAuthority::open(options.dir));
  std::vector<CertificateFiles> renewed;
  for (const auto& name : options.names.empty() ? authority.names() : options.names) {
    KOSHEL_TRY(auto files, authority.renew(name, std::chrono::days(options.days)));
    renewed.push_back(std::move(files));
  }
  return print_made(console, authority, renewed, kReload);
}

void add_common_options(CLI::App* command, CertsOptions& options) {
  command->add_option("--dir", options.dir, "The CA's folder, with all certificates it has given.")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--days", options.days,
                   "How long the certificates are valid (default 365, 825 at most).")
      ->check(CLI::Range(1, 825).description(""))
      ->type_name("DAYS");
}

void add_owner_options(CLI::App* command, CertsOptions& options) {
  command
      ->add_option("--coordinator", options.coordinators,
                   "A coordinator: the name of its files, and every name and address by which "
                   "clients call it (default NAME itself); may be repeated.")
      ->type_name("NAME[=HOST,HOST]")
      ->allow_extra_args(false);
  command
      ->add_option("--agent", options.agents,
                   "An agent, as coordinators call it (default NAME itself); may be repeated.")
      ->type_name("NAME[=HOST,HOST]")
      ->allow_extra_args(false);
}

}  // namespace

void register_certs(CLI::App& app, Console& console) {
  CLI::App* group = add_group(
      app, "certs", "Makes the certificates with which coordinators and agents know each other.");
  add_examples(group,
               {"koshel certs init --coordinator coordinator-1=10.0.0.5 --agent agent-1=10.0.0.11",
                "koshel certs renew --dir certs"});
  auto init = std::make_shared<CertsOptions>();
  auto* command = add_command(
      *group, console, "init",
      "Makes a CA for one cluster and certificates for its coordinators and agents, in a folder\n"
      "for you only. ECDSA on P-256; each certificate says which role its owner has. Overwrites\n"
      "nothing. Whoever has ca.key can be any of them: keep the folder off the daemons' hosts.",
      init, run_init);
  add_common_options(command, *init);
  add_owner_options(command, *init);
  command->add_option("--ca-days", init->ca_days, "How long the CA itself is valid (default 3650).")
      ->check(CLI::Range(1, 36'500).description(""))
      ->type_name("DAYS");
  add_examples(command, {"koshel certs init --dir certs --coordinator "
                         "coordinator-1=10.0.0.5,wallet.example \\",
                         "    --agent agent-1=10.0.0.11 --agent agent-2=10.0.0.12"});

  auto add = std::make_shared<CertsOptions>();
  command = add_command(*group, console, "add",
                        "Makes certificates for more coordinators and agents, with a CA that is "
                        "there.",
                        add, run_add);
  add_common_options(command, *add);
  add_owner_options(command, *add);
  add_examples(command, {"koshel certs add --dir certs --agent agent-3=10.0.0.13"});

  auto renew = std::make_shared<CertsOptions>();
  command = add_command(
      *group, console, "renew",
      "Makes certificates valid for another time, from now on: same names, same role, same key.\n"
      "For another key delete NAME.pem and NAME.key, and `koshel certs add`.",
      renew, run_renew);
  add_common_options(command, *renew);
  command->add_option("NAME", renew->names, "Whose (default all).")->type_name("");
  add_examples(command,
               {"koshel certs renew --dir certs", "koshel certs renew --dir certs agent-1"});
}

}  // namespace koshel::cli
