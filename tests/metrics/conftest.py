from with_wordnet import with_wordnet, wordnet

__all__ = ["with_wordnet", "wordnet"]
