"""Tokenizers of the embedded generators, learned from the world's captions, in the ordinary formats."""

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5Tokenizer

CLIP_LENGTH = 52  # tokens; longer captions are cut, as in any Stable Diffusion pipeline
T5_LENGTH = 120  # what the PixArt pipeline pads to


def clip_tokenizer(captions: list[str]) -> CLIPTokenizer:
    """A byte-level BPE in which every common word of `captions` is one token."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        (caption.lower() for caption in captions),
        trainers.BpeTrainer(
            vocab_size=1000, initial_alphabet=bytes_, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    import json

    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in learned["merges"]]
    words = [*bytes_, *(f"{b}</w>" for b in bytes_), *("".join(merge) for merge in merges), start, end]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_LENGTH)


def t5_tokenizer(captions: list[str]) -> T5Tokenizer:
    """A unigram tokenizer with the words of `captions` whole and single characters for the rest."""
    words = sorted({word for caption in captions for word in caption.replace(",", " ,").split()})
    characters = [chr(c) for c in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -6.0)]
    known = {piece for piece, _ in pieces}
    for score, group in ((-3.0, [f"▁{word}" for word in words]), (-10.0, characters)):
        for piece in group:
            if piece not in known:
                known.add(piece)
                pieces.append((piece, score))
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=T5_LENGTH)
