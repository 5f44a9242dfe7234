// Writes codec.vectors: messages of every api and version we serve, in the bytes of Kafka's own
// Java client. The Rust tests must read and write the same bytes with the same meaning.
//
// Run beside apis.txt, with kafka-clients 4.3.1 and slf4j-api on the class path:
//
//     java -cp "$JARS" Vectors.java $(cat apis.txt) > codec.vectors
//
// A line is: api key, version, "request" or "response", hex, and the message as text. Each message
// comes twice: once with every field set to a value of its own, once with everything null or empty
// that can be.

import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class Vectors {
    static int last;
    static int first;
    static int counter;

    public static void main(String[] args) throws Exception {
        for (String arg : args) {
            String[] parts = arg.split("[:-]");
            first = Integer.parseInt(parts[2]);
            last = Integer.parseInt(parts[3]);
            for (String kind : List.of("Request", "Response")) {
                Class<?> type =
                    Class.forName("org.apache.kafka.common.message." + parts[0] + kind + "Data");
                for (int version = first; version <= last; version++) {
                    for (boolean full : new boolean[] {true, false}) {
                        line(parts[1], kind.toLowerCase(), type, version, full);
                    }
                }
            }
        }
    }

    static void line(String key, String kind, Class<?> type, int version, boolean full)
        throws Exception {
        counter = 0;
        Object message = sample(type, version, full);
        byte[] bytes = MessageUtil.byteBufferToArray(
            MessageUtil.toByteBufferAccessor((Message) message, (short) version).buffer());
        System.out.println(key + " " + version + " " + kind + " "
            + HexFormat.of().formatHex(bytes) + " " + text(message, version));
    }

    /** The fields of a struct in one version, by name; those with a tag too. */
    static Map<String, Field> fields(Class<?> type, int version) throws Exception {
        Map<String, Field> fields = new LinkedHashMap<>();
        for (BoundField field : schema(type, version)) {
            if (field.def.type instanceof TaggedFields) {
                ((TaggedFields) field.def.type).fields().values()
                    .forEach(tagged -> fields.put(plain(tagged.name), tagged));
            } else {
                fields.put(plain(field.def.name), field.def);
            }
        }
        return fields;
    }

    static Set<String> tagged(Class<?> type, int version) throws Exception {
        Set<String> names = new HashSet<>();
        for (BoundField field : schema(type, version)) {
            if (field.def.type instanceof TaggedFields) {
                ((TaggedFields) field.def.type).fields().values()
                    .forEach(tagged -> names.add(plain(tagged.name)));
            }
        }
        return names;
    }

    /** Nothing for a struct that the version does not have. */
    static BoundField[] schema(Class<?> type, int version) throws Exception {
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        boolean present = version < schemas.length && schemas[version] != null;
        return present ? schemas[version].fields() : new BoundField[0];
    }

    static String plain(String name) {
        return name.replace("_", "").toLowerCase();
    }

    static List<java.lang.reflect.Field> members(Class<?> type) {
        List<java.lang.reflect.Field> members = new ArrayList<>();
        for (java.lang.reflect.Field member : type.getDeclaredFields()) {
            boolean own = !Modifier.isStatic(member.getModifiers())
                && !List.of("_unknownTaggedFields", "next", "prev").contains(member.getName());
            if (own) {
                member.setAccessible(true);
                members.add(member);
            }
        }
        return members;
    }

    static Object sample(Class<?> type, int version, boolean full) throws Exception {
        Object value = type.getDeclaredConstructor().newInstance();
        Map<String, Field> fields = fields(type, version);
        Set<String> tagged = tagged(type, version);
        for (java.lang.reflect.Field member : members(type)) {
            String name = plain(member.getName());
            Field field = fields.get(name);
            if (field == null || !full && tagged.contains(name)) continue;
            if (!full && field.type.isNullable() && !isFetched(member)) {
                member.set(value, null);
            } else {
                member.set(value, sampleField(member, version, full));
            }
        }
        return value;
    }

    static Object sampleField(java.lang.reflect.Field member, int version, boolean full)
        throws Exception {
        Class<?> type = member.getType();
        if (!Collection.class.isAssignableFrom(type)) return sampleValue(type, version, full);
        java.lang.reflect.Type element = element(member);
        @SuppressWarnings("unchecked")
        Collection<Object> items = type == List.class
            ? new ArrayList<>() : (Collection<Object>) type.getDeclaredConstructor().newInstance();
        int count = full && !isStruct((Class<?>) element) ? 2 : 1;
        for (int i = 0; i < count; i++) items.add(sampleValue((Class<?>) element, version, full));
        return items;
    }

    /** The records of a Fetch answer: to us and to every broker these are empty, never null. */
    static boolean isFetched(java.lang.reflect.Field member) {
        return member.getDeclaringClass().getName().contains("FetchResponse")
            && member.getName().equals("records");
    }

    static boolean isStruct(Class<?> type) {
        return Message.class.isAssignableFrom(type);
    }

    static java.lang.reflect.Type element(java.lang.reflect.Field member) {
        java.lang.reflect.Type generic = member.getType() == List.class
            ? member.getGenericType() : member.getType().getGenericSuperclass();
        return ((ParameterizedType) generic).getActualTypeArguments()[0];
    }

    static Object sampleValue(Class<?> type, int version, boolean full) throws Exception {
        if (isStruct(type)) return sample(type, version, full);
        int n = full ? ++counter : 0;
        if (type == boolean.class) return full;
        if (type == byte.class) return (byte) n;
        if (type == short.class || type == Short.class) return (short) (full ? 0x100 + n : 0);
        if (type == int.class || type == Integer.class) return full ? 0x1020000 + n : 0;
        if (type == long.class || type == Long.class) return full ? 0x102030405060000L + n : 0L;
        if (type == String.class) return full ? "s" + n : "";
        if (type == Uuid.class) return full ? new Uuid(0x708090a0b0c0000L + n, n) : Uuid.ZERO_UUID;
        byte[] bytes = (full ? "b" + n : "").getBytes(StandardCharsets.US_ASCII);
        if (type == byte[].class) return bytes;
        if (type == ByteBuffer.class) return ByteBuffer.wrap(bytes);
        return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
    }

    /** The struct as the Rust tests print theirs. */
    static String text(Object value, int version) throws Exception {
        StringJoiner joiner = new StringJoiner(", ", "{ ", " }");
        for (java.lang.reflect.Field member : members(value.getClass())) {
            Field field = null;
            boolean nullable = false;
            for (int v = first; v <= last; v++) {
                Field there = fields(value.getClass(), v).get(plain(member.getName()));
                if (there != null) {
                    field = there;
                    nullable |= there.type.isNullable();
                }
            }
            if (field == null) continue;
            boolean present =
                fields(value.getClass(), version).containsKey(plain(member.getName()));
            Object inner = nullable && !present ? null : member.get(value);
            joiner.add(field.name + ": " + textValue(member, inner, version));
        }
        return joiner.toString();
    }

    static String textValue(java.lang.reflect.Field member, Object value, int version)
        throws Exception {
        if (isFetched(member)) {
            boolean empty = ((MemoryRecords) value).sizeInBytes() == 0;
            return empty ? "Records[]" : "Records[" + scalar(value, version) + "]";
        }
        if (!(value instanceof Collection)) return scalar(value, version);
        StringJoiner joiner = new StringJoiner(", ", "[", "]");
        for (Object item : (Collection<?>) value) joiner.add(scalar(item, version));
        return joiner.toString();
    }

    static String scalar(Object value, int version) throws Exception {
        if (value == null) return "None";
        if (isStruct(value.getClass())) return text(value, version);
        if (value instanceof String) return "\"" + value + "\"";
        if (value instanceof byte[]) return ascii(ByteBuffer.wrap((byte[]) value));
        if (value instanceof ByteBuffer) return ascii(((ByteBuffer) value).duplicate());
        if (value instanceof MemoryRecords) return ascii(((MemoryRecords) value).buffer());
        return value.toString();
    }

    static String ascii(ByteBuffer buffer) {
        return "b\"" + StandardCharsets.US_ASCII.decode(buffer) + "\"";
    }
}
