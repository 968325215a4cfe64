//===- BytePairEncoding.cpp - Merging symbols in order of rank ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The symbols are a linked list inside of a vector, candidates a heap. A
/// candidate whose pair has changed since is dropped when it comes up, by the
/// test that the Python package uses (the merge would give another symbol).
///
//===----------------------------------------------------------------------===//

#include "BytePairEncoding.h"
#include <queue>
#include <tuple>

using namespace miura;

namespace {
struct Candidate {
  uint32_t rank, position, result;
  bool operator>(const Candidate &other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};
struct Link {
  int64_t previous, next; // −1: none
  bool removed;
};
} // namespace

void MergeTable::apply(std::vector<uint32_t> &symbols) const {
  size_t count = symbols.size();
  if (count < 2)
    return;
  std::vector<Candidate> candidates;
  candidates.reserve(count);
  auto consider = [&](int64_t left, int64_t right, auto &&push) {
    if (const Merge *merge = find(symbols[left], symbols[right]))
      push(Candidate{merge->rank, static_cast<uint32_t>(left), merge->result});
  };
  std::vector<Link> links(count);
  for (size_t i = 0; i < count; ++i) {
    links[i] = {int64_t(i) - 1, i + 1 < count ? int64_t(i) + 1 : -1, false};
    if (i + 1 < count)
      consider(i, i + 1,
               [&](Candidate candidate) { candidates.push_back(candidate); });
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(
      std::greater<>(), std::move(candidates));
  while (!queue.empty()) {
    Candidate top = queue.top();
    queue.pop();
    Link &left = links[top.position];
    if (left.removed || left.next < 0)
      continue;
    Link &right = links[left.next];
    const Merge *merge = find(symbols[top.position], symbols[left.next]);
    if (!merge || merge->result != top.result)
      continue;
    symbols[top.position] = top.result;
    right.removed = true;
    left.next = right.next;
    if (left.next >= 0)
      links[left.next].previous = top.position;
    auto push = [&](Candidate candidate) { queue.push(candidate); };
    if (left.previous >= 0)
      consider(left.previous, top.position, push);
    if (left.next >= 0)
      consider(top.position, left.next, push);
  }
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i)
    if (!links[i].removed)
      symbols[kept++] = symbols[i];
  symbols.resize(kept);
}
