//===- SessionText.h - A small decoder at the session level -----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Writes the session level of a LLaMA-type decoder with random weights as
/// text, of any number of layers, so that compiled code can be compared with
/// the oracle. Sizes are odd on purpose: no dimension is a multiple of a
/// vector.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TEST_UNIT_PIPELINES_SESSIONTEXT_H
#define MIURA_TEST_UNIT_PIPELINES_SESSIONTEXT_H

#include <cstdint>
#include <random>
#include <string>

namespace miura {

struct SessionShape {
  int64_t layers = 2, vocabulary = 41, width = 36, heads = 6, kvHeads = 2,
          size = 10, hidden = 75;
  /// 0: f32 weights; else bits of codes in blocks of 12 columns.
  unsigned bits = 0;
  /// Of linears with codes: whether half the codes are pruned, and the rank of
  /// an f16 product that is added, 0 for none.
  bool isPruned = false;
  int64_t rank = 0;
  /// Whether activations enter as int8.
  bool int8Activations = false;
};

class SessionText {
public:
  explicit SessionText(const SessionShape &shape) : shape(shape) {}

  /// @step and @step_all.
  std::string write() {
    std::string text = "module {\n";
    for (bool all : {false, true}) {
      generator.seed(7);
      text += writeStep(all);
    }
    return text + "}\n";
  }

private:
  static std::string number(int64_t value) { return std::to_string(value); }
  std::string tensor(const std::string &sizes, const char *element = "f32") {
    return "tensor<" + sizes + "x" + element + ">";
  }
  /// The text of a constant of random numbers.
  std::string constant(int64_t rows, int64_t columns, double deviation) {
    std::normal_distribution<double> normal(0, deviation);
    std::string text = "dense<[";
    for (int64_t r = 0; r < rows; ++r) {
      text += r ? ",[" : "[";
      for (int64_t c = 0; c < columns; ++c) {
        char digits[32];
        snprintf(digits, sizeof digits, "%s%.6e", c ? "," : "",
                 normal(generator));
        text += digits;
      }
      text += "]";
    }
    return text + "]>";
  }
  /// As many bits as are set in what it returns.
  std::string bitmap(int64_t rows, int64_t columns, int64_t &kept) {
    std::string text = "dense<[";
    kept = 0;
    for (int64_t r = 0; r < rows; ++r) {
      text += r ? ",[" : "[";
      for (int64_t c = 0; c < columns; c += 8) {
        unsigned bits = generator() >> 8 & 0xFF;
        if (c + 8 > columns)
          bits &= (1u << (columns - c)) - 1;
        for (unsigned rest = bits; rest; rest &= rest - 1)
          ++kept;
        text += (c ? "," : "") + std::to_string((int)(int8_t)bits);
      }
      text += "]";
    }
    return text + "]>";
  }
  std::string codes(int64_t count) {
    std::string text = codes(1, count);
    return "dense<" + text.substr(7, text.size() - 9) + ">";
  }
  std::string codes(int64_t rows, int64_t columns) {
    std::uniform_int_distribution<int> uniform(-(1 << (shape.bits - 1)),
                                               (1 << (shape.bits - 1)) - 1);
    std::string text = "dense<[";
    for (int64_t r = 0; r < rows; ++r) {
      text += r ? ",[" : "[";
      for (int64_t c = 0; c < columns; ++c)
        text += (c ? "," : "") + std::to_string(uniform(generator));
      text += "]";
    }
    return text + "]>";
  }

  /// Defines %name, a weight of rows × columns.
  void weight(const std::string &name, int64_t rows, int64_t columns) {
    std::string type = tensor(number(rows) + "x" + number(columns));
    double deviation = 1.0 / std::sqrt(static_cast<double>(columns));
    if (shape.bits == 0) {
      body += "    %" + name + " = arith.constant " +
              constant(rows, columns, deviation) + " : " + type + "\n";
      return;
    }
    int64_t blocks = (columns + block - 1) / block;
    std::string codeType = tensor(number(rows) + "x" + number(columns),
                                  ("i" + number(shape.bits)).c_str());
    std::string scaleType = tensor(number(rows) + "x" + number(blocks), "f16");
    bool isLinear = name[0] == 'w';
    if (shape.isPruned && isLinear) {
      int64_t kept = 0;
      std::string bits = bitmap(rows, columns, kept);
      std::string bitType =
          tensor(number(rows) + "x" + number((columns + 7) / 8), "i8");
      std::string keptType =
          tensor(number(kept), ("i" + number(shape.bits)).c_str());
      body += "    %" + name + "k = arith.constant " + codes(kept) + " : " +
              keptType + "\n    %" + name + "b = arith.constant " + bits +
              " : " + bitType + "\n    %" + name + "c = miura.unprune %" +
              name + "k, %" + name + "b \"bitmap\" : " + keptType + ", " +
              bitType + " -> " + codeType + "\n";
    } else {
      body += "    %" + name + "c = arith.constant " + codes(rows, columns) +
              " : " + codeType + "\n";
    }
    bool isSum = shape.rank && isLinear;
    body += "    %" + name + "s = arith.constant " +
            constant(rows, blocks, deviation / (1 << (shape.bits - 1))) +
            " : " + scaleType + "\n    %" + name + (isSum ? "q" : "") +
            " = miura.dequantize %" + name + "c, %" + name + "s block [1, " +
            number(block) + "] : " + codeType + ", " + scaleType + " -> " +
            type + "\n";
    if (!isSum)
      return;
    auto factor = [&](const char *suffix, int64_t r, int64_t c) {
      std::string sizes = number(r) + "x" + number(c);
      body += "    %" + name + suffix + "h = arith.constant " +
              constant(r, c, 0.1) + " : " + tensor(sizes, "f16") + "\n    %" +
              name + suffix + " = miura.convert %" + name + suffix +
              "h : " + tensor(sizes, "f16") + " -> " + tensor(sizes) + "\n";
    };
    factor("l", rows, shape.rank);
    factor("r", shape.rank, columns);
    body += "    %" + name + "p = miura.matmul %" + name + "l, %" + name +
            "r : " + tensor(number(rows) + "x" + number(shape.rank)) + ", " +
            tensor(number(shape.rank) + "x" + number(columns)) + " -> " + type +
            "\n    %" + name + " = miura.add %" + name + "q, %" + name +
            "p : " + type + ", " + type + " -> " + type + "\n";
  }
  void linear(const std::string &y, const std::string &x, const std::string &w,
              int64_t rows, int64_t columns,
              const std::string &leading = "?x?x") {
    body += "    %" + y + " = miura.linear %" + x + ", %" + w + " id(\"" + y +
            "\") compute(" + (shape.int8Activations ? "i8" : "f32") +
            ", f32) : (" + tensor(leading + number(columns)) + ", " +
            tensor(number(rows) + "x" + number(columns)) + ") -> " +
            tensor(leading + number(rows)) + "\n";
  }
  void norm(const std::string &y, const std::string &x,
            const std::string &leading = "?x?x") {
    std::string scale = constant(1, shape.width, 1.0);
    scale = "dense<" + scale.substr(7, scale.size() - 9) + ">";
    std::string type = tensor(number(shape.width));
    body += "    %" + y + "s = arith.constant " + scale + " : " + type +
            "\n    %" + y + " = miura.rms_norm %" + x + ", %" + y +
            "s epsilon 1.0e-5 : " + tensor(leading + number(shape.width)) +
            ", " + type + "\n";
  }

  std::string writeStep(bool all) {
    body.clear();
    auto role = [](const std::string &kind, int64_t layer = -1) {
      return " {miura.role = #miura.role<" + kind +
             (layer < 0 ? "" : ", layer = " + number(layer)) + ">}";
    };
    std::string cache =
        tensor("?x" + number(shape.kvHeads) + "x?x" + number(shape.size));
    std::string leading = all ? "?x?x" : "?x1x";
    std::string logits = tensor(leading + number(shape.vocabulary));
    std::string arguments = "%tokens: tensor<?x?xi64>" + role("tokens") +
                            ", %positions: tensor<?x?xi64>" +
                            role("positions") + ", %padding: tensor<?x?xi8>" +
                            role("mask") + ", %lengths: tensor<?xi64>" +
                            role("lengths") + ", %counts: tensor<?xi64>" +
                            role("counts");
    std::string results = logits + role("logits"), values = "%logits",
                types = logits;
    for (int64_t l = 0; l < shape.layers; ++l) {
      std::string n = number(l);
      arguments += ", %ck" + n + ": " + cache + role("cache_key", l) + ", %cv" +
                   n + ": " + cache + role("cache_value", l);
      results += ", " + cache + role("cache_key", l) + ", " + cache +
                 role("cache_value", l);
      values += ", %nk" + n + ", %nv" + n;
      types += ", " + cache + ", " + cache;
    }

    int64_t queries = shape.heads * shape.size;
    int64_t keys = shape.kvHeads * shape.size;
    std::string rows = tensor("?x?x" + number(shape.width));
    std::string table = tensor("?x?x" + number(shape.size));
    std::string embeddingType =
        tensor(number(shape.vocabulary) + "x" + number(shape.width));
    weight("embedding", shape.vocabulary, shape.width);
    body += "    %x0 = miura.embedding %tokens, %embedding id(\"e\") : "
            "(tensor<?x?xi64>, " +
            embeddingType + ") -> " + rows + "\n";
    // Tables of cosines and sines, as glue that is not a kernel's root.
    body += "    %c0 = arith.constant 0 : index\n    %c1 = arith.constant 1 : "
            "index\n    %b = tensor.dim %tokens, %c0 : tensor<?x?xi64>\n    "
            "%t = tensor.dim %tokens, %c1 : tensor<?x?xi64>\n";
    for (const char *function : {"cos", "sin"}) {
      std::string f = function;
      body += "    %" + f + "e = tensor.empty(%b, %t) : " + table + "\n    %" +
              f +
              " = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> "
              "(a, b)>, affine_map<(a, b, c) -> (a, b, c)>], iterator_types = "
              "[\"parallel\", \"parallel\", \"parallel\"]} ins(%positions : "
              "tensor<?x?xi64>) outs(%" +
              f + "e : " + table +
              ") {\n    ^bb0(%p: i64, %o: f32):\n      %i = linalg.index 2 : "
              "index\n      %h = arith.constant " +
              number(shape.size / 2) +
              " : index\n      %m = arith.remui %i, %h : index\n      %n = "
              "arith.index_cast %m : index to i64\n      %nf = arith.sitofp "
              "%n : i64 to f32\n      %s = arith.constant 0.3 : f32\n      "
              "%pf = arith.sitofp %p : i64 to f32\n      %q = arith.constant "
              "1.0 : f32\n      %d0 = arith.mulf %nf, %s : f32\n      %d = "
              "arith.addf %d0, %q : f32\n      %a = arith.divf %pf, %d : "
              "f32\n      %r = math." +
              f + " %a : f32\n      linalg.yield %r : f32\n    } -> " + table +
              "\n";
    }
    std::string x = "x0";
    for (int64_t l = 0; l < shape.layers; ++l) {
      std::string n = number(l);
      auto split = [&](const std::string &from, int64_t heads) {
        body += "    %" + from + "h" + n + " = miura.split_heads %" + from + n +
                " : " + tensor("?x?x" + number(heads * shape.size)) + " -> " +
                tensor("?x" + number(heads) + "x?x" + number(shape.size)) +
                "\n";
      };
      auto rope = [&](const std::string &from, int64_t heads) {
        body += "    %" + from + "r" + n + " = miura.rope %" + from + "h" + n +
                ", %cos, %sin : " +
                tensor("?x" + number(heads) + "x?x" + number(shape.size)) +
                ", " + table + ", " + table + "\n";
      };
      std::string heads =
          tensor("?x" + number(shape.heads) + "x?x" + number(shape.size));
      norm("n" + n, x);
      weight("wq" + n, queries, shape.width);
      weight("wk" + n, keys, shape.width);
      weight("wv" + n, keys, shape.width);
      linear("q" + n, "n" + n, "wq" + n, queries, shape.width);
      linear("k" + n, "n" + n, "wk" + n, keys, shape.width);
      linear("v" + n, "n" + n, "wv" + n, keys, shape.width);
      split("q", shape.heads);
      split("k", shape.kvHeads);
      split("v", shape.kvHeads);
      rope("q", shape.heads);
      rope("k", shape.kvHeads);
      for (auto [to, from] : {std::pair("k", "kr"), std::pair("v", "vh")})
        body +=
            "    %n" + std::string(to) + n + " = miura.cache_append %" + from +
            n + " at %lengths into %c" + to + n + " : " +
            tensor("?x" + number(shape.kvHeads) + "x?x" + number(shape.size)) +
            ", tensor<?xi64> into " + cache + "\n";
      body += "    %a" + n + " = miura.cached_attention %qr" + n + ", %nk" + n +
              ", %nv" + n +
              " at %lengths padding %padding : tensor<?x?xi8> scale 3.0e-01 "
              "causal : " +
              heads + ", " + cache + ", " + cache + ", tensor<?xi64> -> " +
              heads + "\n    %m" + n + " = miura.merge_heads %a" + n + " : " +
              heads + " -> " + tensor("?x?x" + number(queries)) + "\n";
      weight("wo" + n, shape.width, queries);
      linear("o" + n, "m" + n, "wo" + n, shape.width, queries);
      body += "    %r" + n + " = arith.addf %" + x + ", %o" + n + " : " + rows +
              "\n";
      norm("f" + n, "r" + n);
      weight("wg" + n, shape.hidden, shape.width);
      weight("wu" + n, shape.hidden, shape.width);
      weight("wd" + n, shape.width, shape.hidden);
      linear("g" + n, "f" + n, "wg" + n, shape.hidden, shape.width);
      linear("u" + n, "f" + n, "wu" + n, shape.hidden, shape.width);
      std::string hidden = tensor("?x?x" + number(shape.hidden));
      body += "    %s" + n + " = miura.silu %g" + n + " : " + hidden +
              "\n    %p" + n + " = arith.mulf %s" + n + ", %u" + n + " : " +
              hidden + "\n";
      linear("d" + n, "p" + n, "wd" + n, shape.width, shape.hidden);
      body += "    %y" + n + " = arith.addf %r" + n + ", %d" + n + " : " +
              rows + "\n";
      x = "y" + n;
    }
    if (!all) {
      body += "    %last = miura.take_last %" + x + ", %counts : " + rows +
              ", tensor<?xi64> -> " + tensor("?x1x" + number(shape.width)) +
              "\n";
      x = "last";
    }
    norm("final", x, leading);
    linear("logits", "final", "embedding", shape.vocabulary, shape.width,
           leading);
    return "  func.func @step" + std::string(all ? "_all" : "") + "(" +
           arguments + ") -> (" + results + ") attributes {miura.session} {\n" +
           body + "    return " + values + " : " + types + "\n  }\n";
  }

  static constexpr int64_t block = 12;
  SessionShape shape;
  std::string body;
  std::mt19937 generator;
};

} // namespace miura

#endif // MIURA_TEST_UNIT_PIPELINES_SESSIONTEXT_H
